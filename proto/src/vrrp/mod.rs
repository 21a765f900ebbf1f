//! VRRP's own machine: who would be Master if nobody but VRRP were asked.
//!
//! The drawing of RFC 9568, 6.3 (Active is our Master), with the one seam: where the RFC goes to
//! Active, we stand for election, and go only when [`instance::Instance::become_master`] says that we may.
//!
//! ```text
//!                       +---------------+
//!           +---------->|               |<-------------+
//!           |           |  Initialize   |              |
//!           |    +------|               |              | shutdown
//!  shutdown |    |      +---------------+              |
//!           |    | startup (priority 255: standing)    |
//!           |    v                                     |
//!        +---------------+   become_master    +---------------+
//!        |    Backup     |------------------->|    Master     |
//!        |               |   resign           |               |
//!        |   (standing)  |<-------------------|               |
//!        +---------------+                    +---------------+
//! ```

pub mod instance;
pub mod output;
pub mod params;
pub mod statistics;
