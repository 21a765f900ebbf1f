//! A link over a veth pair between two network namespaces: outage, and an interface that is made again.
//!
//! One thread is in one namespace or the other; a socket belongs to that in which it was opened. Needs
//! root.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use futures_util::TryStreamExt as _;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

use super::tests::{SOON, beat, node, pair, until};
use super::*;

const LINK: LinkId = LinkId(0);
const INTERFACE: &str = "hb0";

/// A network namespace of this thread's making, gone with its last file and socket.
struct Namespace {
    file: File,
    handle: Handle,
}

impl Namespace {
    /// Makes one and stays in it.
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
        let file = File::open("/proc/thread-self/ns/net").unwrap();
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        Namespace { file, handle }
    }

    fn enter(&self) {
        setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// Index of the interface; the thread must be inside.
    fn index(&self) -> u32 {
        self.enter();
        nix::net::if_::if_nametoindex(INTERFACE).unwrap()
    }

    async fn up(&self) {
        let message = LinkUnspec::new_with_index(self.index()).up().build();
        self.handle.link().set(message).execute().await.unwrap();
    }

    async fn add_address(&self, host: u8) {
        let address = IpAddr::from([10, 77, 0, host]);
        self.handle.address().add(self.index(), address, 24).execute().await.unwrap();
    }

    /// Sends everything for that address to a station that does not exist.
    async fn misdirect(&self, host: u8) {
        let address = IpAddr::from([10, 77, 0, host]);
        let neighbour = self.handle.neighbours().add(self.index(), address);
        neighbour.link_layer_address(&[2, 0, 0, 0, 0, 99]).replace().execute().await.unwrap();
    }

    async fn remove_addresses(&self) {
        let mut found = self.handle.address().get().set_link_index_filter(self.index()).execute();
        while let Some(address) = found.try_next().await.unwrap() {
            self.handle.address().del(address).execute().await.unwrap();
        }
    }
}

/// A veth pair, `hb0` in both, with 10.77.0.1 and 10.77.0.2.
async fn wire(a: &Namespace, b: &Namespace) {
    a.handle.link().add(LinkVeth::new(INTERFACE, "far").build()).execute().await.unwrap();
    a.enter();
    let far = nix::net::if_::if_nametoindex("far").unwrap();
    let moved = LinkUnspec::new_with_index(far).name(INTERFACE).setns_by_fd(b.file.as_raw_fd());
    a.handle.link().set(moved.build()).execute().await.unwrap();
    for (namespace, host) in [(a, 1), (b, 2)] {
        namespace.add_address(host).await;
        namespace.up().await;
    }
}

fn configs() -> (HeartbeatConfig, HeartbeatConfig) {
    let (mut a, mut b) = pair(&[0]);
    let addresses: [SocketAddr; 2] = ["10.77.0.1:7946", "10.77.0.2:7946"].map(|text| text.parse().unwrap());
    for (config, own, other) in [(&mut a, 0, 1), (&mut b, 1, 0)] {
        let link = &mut config.links[0];
        link.interface = Some(INTERFACE.into());
        link.local = addresses[own];
        link.peers[0].1 = addresses[other];
    }
    (a, b)
}

/// A beat with a number in it.
fn numbered(number: u32) -> Vec<u8> {
    let mut bytes = beat(400, 0);
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn number(event: &Event) -> u32 {
    let Event::BeatReceived { bytes, .. } = event else { panic!("{event:?}") };
    u32::from_be_bytes(bytes[1..5].try_into().unwrap())
}

async fn pass(from: &Heartbeats, to: u16, events: &mut mpsc::Receiver<Event>) -> Option<Duration> {
    let send = || _ = from.send_beat(LINK, node(to), beat(64, 1));
    until(SOON, send, events, |_| true).await
}

#[tokio::test]
async fn after_an_outage_the_first_beat_comes_at_once_and_is_fresh() {
    let (home_a, home_b) = (Namespace::new(), Namespace::new());
    wire(&home_a, &home_b).await;
    let (mut a, mut b) = configs();
    for config in [&mut a, &mut b] {
        // The connection itself must get over it, without a new one.
        config.transport.silence = Duration::from_secs(3600);
    }
    home_a.enter();
    let (a, mut to_a) = Heartbeats::start(&a).unwrap();
    home_b.enter();
    let (b, mut to_b) = Heartbeats::start(&b).unwrap();
    pass(&a, 2, &mut to_b).await.expect("a beat arrives");
    pass(&b, 1, &mut to_a).await.expect("a beat arrives");

    // The far host drops everything in silence. (Were the interface taken down, the first ARP request
    // afterwards might be lost, which costs a second of the kernel's and says nothing about us.)
    home_b.remove_addresses().await;
    while to_b.try_recv().is_ok() {}
    let mut sent = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        sent += 1;
        let _ = a.send_beat(LINK, node(2), numbered(sent));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(to_b.try_recv().is_err(), "the address is gone");
    home_b.add_address(2).await;
    let (up, last) = (Instant::now(), sent);
    let first = loop {
        sent += 1;
        let _ = a.send_beat(LINK, node(2), numbered(sent));
        let wait = tokio::time::timeout(Duration::from_millis(20), to_b.recv());
        if let Ok(Some(event)) = wait.await {
            break event;
        }
        assert!(up.elapsed() < SOON, "no beat");
    };
    println!(
        "first beat {:?} after the end of the outage: number {}, {last} when it ended",
        up.elapsed(),
        number(&first)
    );
    assert!(up.elapsed() < Duration::from_secs(1), "{:?}", up.elapsed());
    assert!(number(&first) >= last, "an old beat, {} of {last}", number(&first));
    drop(b);
}

#[tokio::test]
async fn a_node_that_hears_nothing_is_still_heard() // safety.md D8
{
    let (home_a, home_b) = (Namespace::new(), Namespace::new());
    wire(&home_a, &home_b).await;
    let (a, b) = configs();
    home_a.enter();
    let (a, mut to_a) = Heartbeats::start(&a).unwrap();
    home_b.enter();
    let (b, mut to_b) = Heartbeats::start(&b).unwrap();
    pass(&a, 2, &mut to_b).await.expect("a beat arrives");
    pass(&b, 1, &mut to_a).await.expect("a beat arrives");
    home_b.misdirect(1).await;
    while to_a.try_recv().is_ok() || to_b.try_recv().is_ok() {}
    let (mut sent, mut arrived) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        sent += 1;
        let _ = a.send_beat(LINK, node(2), numbered(sent));
        let _ = b.send_beat(LINK, node(1), beat(64, 1));
        tokio::time::sleep(Duration::from_millis(20)).await;
        while to_b.try_recv().is_ok() {
            arrived += 1;
        }
        assert!(to_a.try_recv().is_err(), "A is deaf");
    }
    println!("{arrived} of {sent} arrived");
    assert!(arrived + 10 > sent, "{arrived} of {sent} arrived");
}

#[tokio::test]
async fn an_interface_that_is_made_again_gets_a_new_socket() {
    let (home_a, home_b) = (Namespace::new(), Namespace::new());
    let (a, b) = configs();
    // Not even there yet.
    home_a.enter();
    let (a, mut to_a) = Heartbeats::start(&a).unwrap();
    assert!(matches!(&a.status()[0].state, LinkState::Waiting(why) if why.contains("hb0")));
    wire(&home_a, &home_b).await;
    home_b.enter();
    let (b, mut to_b) = Heartbeats::start(&b).unwrap();
    for round in 0..2 {
        for (home, node) in [(&home_b, &b), (&home_a, &a)] {
            let index = home.index();
            node.interface_changed(INTERFACE, index);
            let start = Instant::now();
            while !node.links[&LINK].is_bound_to(index) {
                assert!(start.elapsed() < SOON, "{:?}", node.status());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let (forth, back) = (pass(&a, 2, &mut to_b).await, pass(&b, 1, &mut to_a).await);
        println!("round {round}: {forth:?} and {back:?}");
        assert!(forth.is_some() && back.is_some());
        // No more of the old beats, and no more of the interface: both ends go.
        home_a.handle.link().del(home_a.index()).execute().await.unwrap();
        while to_a.try_recv().is_ok() || to_b.try_recv().is_ok() {}
        wire(&home_a, &home_b).await;
    }
}
