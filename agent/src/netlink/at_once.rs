//! Removal for a caller without a runtime: the guardian (R16).

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};

use super::address::{Addresses, Lifetime, VirtualAddress};
use super::path::{self, Path};

/// Removes rules, routes and addresses at once. Waits for the kernel, and does something else, `meanwhile`, each `step`
/// of that. What is absent, and interfaces that are, is no error; all are tried.
///
/// # Errors
/// What is still there, and why.
pub(crate) fn remove_now(
    addresses: &[VirtualAddress],
    paths: &[Path],
    step: Duration,
    meanwhile: impl FnMut(),
) -> Result<(), String> {
    let (addresses, paths) = (addresses.to_vec(), paths.to_vec());
    let work = async move {
        let of_paths = path::remove_all(&paths).await;
        let of_addresses = async { Addresses::open()?.remove(&addresses).await }.await;
        match (of_paths, of_addresses.map_err(|errors| errors.to_string())) {
            (Err(paths), Err(addresses)) => Err(format!("{addresses}; {paths}")),
            (paths, addresses) => addresses.and(paths),
        }
    };
    on_a_thread(work, step, meanwhile)
}

/// Sets addresses that nobody renews, at once and for a caller without a runtime. All are tried.
///
/// # Errors
/// What is not there, and why.
pub(crate) fn set_now(addresses: &[VirtualAddress]) -> Result<(), String> {
    let addresses = addresses.to_vec();
    let work = async move {
        let set = async { Addresses::open()?.set(&addresses, Lifetime::FOREVER).await };
        set.await.map_err(|errors| errors.to_string())
    };
    on_a_thread(work, Duration::from_secs(1), || {})
}

/// Carries a future out on a thread of its own: a runtime can't be started within another one's. Whoever waits for
/// it does something else each `step`.
fn on_a_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, String>> + Send + 'static,
    step: Duration,
    mut meanwhile: impl FnMut(),
) -> Result<T, String> {
    let fail = |what: &str, error: io::Error| format!("cannot {what}: {error}");
    let (done, result) = mpsc::channel();
    let thread = std::thread::Builder::new().name("addresses".to_owned()).spawn(move || {
        realtime::ask(Rank::CarriesOut);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| fail("start a runtime", error));
        let _ = done.send(runtime.and_then(|runtime| runtime.block_on(work)));
    });
    thread.map_err(|error| fail("start a thread", error))?;
    loop {
        match result.recv_timeout(step) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) => meanwhile(),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(fail("finish the request", io::Error::other("it panicked")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::namespace::{World, ip};

    const TURN: Duration = Duration::from_secs(2);

    #[test]
    fn the_guardian_removes_without_a_runtime_and_within_one() {
        World::run(async |_: &World| {
            let vip = |interface, text: &str, length| VirtualAddress::new(interface, text.parse().unwrap(), length);
            let list = [vip("near0", "10.9.0.100", 24), vip("nothere0", "fd00::100", 64)];
            let there = || ip("addr show dev near0").contains("10.9.0.100");
            ip("addr add 10.9.0.100/24 dev near0");
            // Within this test's runtime...
            remove_now(&list, &[], TURN, || {}).unwrap();
            assert!(!there());
            remove_now(&list, &[], TURN, || {}).unwrap();
            // ...and on a thread that has none.
            ip("addr add 10.9.0.100/24 dev near0");
            std::thread::spawn(move || remove_now(&list, &[], TURN, || {})).join().unwrap().unwrap();
            assert!(!there());
        });
    }

    #[test]
    fn who_waits_for_the_kernel_gets_its_turns_meanwhile() {
        let mut turns = 0;
        let slow = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(7)
        };
        assert_eq!(on_a_thread(slow, Duration::from_millis(20), || turns += 1).unwrap(), 7);
        assert!(turns >= 2, "{turns} turns in half a second");
        let panics = async { panic!("on purpose") };
        let error = on_a_thread::<()>(panics, Duration::from_millis(20), || {}).unwrap_err();
        assert!(error.contains("finish the request"), "{error}");
    }
}
