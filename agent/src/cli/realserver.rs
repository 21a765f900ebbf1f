//! `keepone realserver`: a host behind a director has the virtual address, and keeps silent about it.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use keepone_agent::exit::{ExitCode, Failure};
use keepone_agent::realserver::RealServer;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Wish {
    /// Say what is not as a real server needs it; exit code 20 if anything is.
    Check(Of),
    /// Set it up.
    Setup(Of),
    /// Take away what `setup` has set up, and nothing else.
    Undo {
        /// Where `setup` has written down what it changed.
        #[arg(long, value_name = "DIR", default_value = "/run/keepone-realserver")]
        state_dir: PathBuf,
    },
}

/// For which addresses.
#[derive(Args)]
pub(crate) struct Of {
    /// The virtual addresses.
    #[arg(required = true, value_name = "VIP")]
    addresses: Vec<IpAddr>,
    /// The director sends packets in a tunnel (TUN): the address is on `tunl0`, or `ip6tnl0`.
    #[arg(long)]
    tunnel: bool,
    /// Where what is changed is written down for `undo`.
    #[arg(long, value_name = "DIR", default_value = "/run/keepone-realserver")]
    state_dir: PathBuf,
}

impl Of {
    fn server(&self) -> RealServer {
        RealServer::new(&self.addresses, self.tunnel, &self.state_dir)
    }
}

/// Does it.
pub(crate) fn run(wish: Wish) -> Result<u8, Failure> {
    let failed = |words: String| Failure::say(ExitCode::Unexpected, words);
    match wish {
        Wish::Check(of) => {
            let faults = of.server().faults().map_err(failed)?;
            if faults.is_empty() {
                return Ok(super::say("as a real server needs it"));
            }
            super::say(&faults.join("\n"));
            Ok(ExitCode::Differs as u8)
        }
        Wish::Setup(of) => of.server().set_up().map_err(failed).map(|()| 0),
        Wish::Undo { state_dir } => RealServer::new(&[], false, &state_dir).undo().map_err(failed).map(|()| 0),
    }
}
