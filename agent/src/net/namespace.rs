//! Network namespaces for tests: two nodes and a cable between them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// The near and the far node; near's end of the cable is `near0`, far's is `far0`.
///
/// The test runs on one thread in the near namespace. Sockets stay where they were made, so those of
/// the far node are made within [`World::far`] and used anywhere.
pub(crate) struct World {
    near: File,
    far: File,
}

pub(crate) const NEAR_V4: &str = "10.9.0.1";
pub(crate) const FAR_V4: &str = "10.9.0.2";
pub(crate) const NEAR_V6: &str = "fe80::1";
pub(crate) const FAR_V6: &str = "fe80::2";

impl World {
    /// Runs the test on a thread and runtime of its own. Everything ends with the thread.
    pub fn run(test: impl AsyncFnOnce(&World) + Send + 'static) {
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let world = World::new();
            runtime.block_on(test(&world));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn new() -> World {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            ip("link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        let world = World { far: make(), near: make() };
        world.cable();
        world
    }

    /// Lays a (new) cable and gives its ends their addresses.
    pub fn cable(&self) {
        let far = format!("/proc/{}/fd/{}", std::process::id(), self.far.as_raw_fd());
        ip("link add near0 type veth peer name far0");
        ip(&format!("link set far0 netns {far}"));
        let up = |name: &str, v4: &str, v6: &str| {
            ip(&format!("link set {name} addrgenmode none up"));
            ip(&format!("addr add {v4}/24 dev {name}"));
            ip(&format!("addr add {v6}/64 dev {name} nodad"));
        };
        up("near0", NEAR_V4, NEAR_V6);
        self.far(|| up("far0", FAR_V4, FAR_V6));
        carries("near0");
        self.far(|| carries("far0"));
    }

    /// Does something in the far namespace.
    pub fn far<T>(&self, deed: impl FnOnce() -> T) -> T {
        setns(&self.far, CloneFlags::CLONE_NEWNET).unwrap();
        let result = deed();
        setns(&self.near, CloneFlags::CLONE_NEWNET).unwrap();
        result
    }
}

/// Waits until the kernel sends frames of the interface. Its carrier is there as soon as both ends are up, but a
/// worker of the kernel has to see it first; until then frames are taken and dropped, for long on a busy machine.
fn carries(name: &str) {
    let begin = crate::clock::now();
    // Asked under the rtnl lock, which that worker holds until it is done.
    while !ip(&format!("-o link show {name}")).contains(" state UP ") {
        assert!(crate::clock::now().since(begin) < SANE, "{name} has no carrier");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A time that no sane machine needs.
const SANE: std::time::Duration = std::time::Duration::from_secs(60);

/// ip(8), which must succeed, in the thread's namespace.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a future gives before a time that no sane machine needs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SANE, future).await.expect("nothing came within a minute")
}

/// Whether a future is still waiting after a while.
pub(crate) async fn silent<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(std::time::Duration::from_millis(200), future).await.is_err()
}
