//! `TCP_CHECK`: up while it takes a connection.

use keepone_config::model::Target;

use super::{Fault, socket};

pub(super) async fn probe(target: &Target) -> Result<(), Fault> {
    socket::tcp(target).await.map(drop)
}
