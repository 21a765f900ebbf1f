//! An agent without a peer, on a machine that answers whoever asks for the addresses it holds.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use keepone_chaos::netns::observe::{Stop, responder};

use crate::lan::Lan;
use crate::program::Program;
use crate::{Error, binary};

/// What an agent says that has taken a new configuration over.
pub const TAKEN: &str = "reload: taken over, and whatever is equal was not touched";

/// The agent of the first machine of a LAN, and what answers there; both end with it.
#[derive(Debug)]
pub struct LoneAgent {
    program: Program,
    answers: Stop,
}

impl LoneAgent {
    /// With a gate of means bpf, or else on a kernel that answers as one without BPF.
    ///
    /// # Errors
    /// As [`Program::start`] and [`responder::start`].
    pub fn start(lan: &Lan, bpf: bool, file: &Path, more: &[&str]) -> Result<Self, Error> {
        let (binary, file) = (binary::find("keepone"), file.to_string_lossy());
        let binary = binary.to_string_lossy();
        let command = [&[&*binary, "run", "-c", &*file], more].concat();
        let start = if bpf { Program::start } else { Program::start_without_bpf };
        let program = start(&lan.node(0).namespace, &command, &lan.room().join("output.log"))?;
        let answers = Stop::default();
        responder::start(&lan.node(0).namespace, 0, answers.clone())?;
        Ok(LoneAgent { program, answers })
    }
}

impl Deref for LoneAgent {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for LoneAgent {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Drop for LoneAgent {
    fn drop(&mut self) {
        self.answers.set();
    }
}
