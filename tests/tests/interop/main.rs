//! keepone and the installed keepalived as one virtual router's two nodes, on real packets.
//!
//! Both read the same plain `keepalived.conf`; there is no cluster and no authority, so what holds here is
//! what VRRP alone can give. Needs root, and keepalived.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod matrix;
mod packets;
mod page;
mod parallel;
mod routers;
mod speech;
mod story;

use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Class, Network};
use keepone_chaos::netns::clock;
use routers::Router::{self, Frr, Keepalived, Keepone};
use speech::{AH, Auth, HMAC, Hmac, Speech, V2, V3};
use story::{A, B, Story, nanos};

/// A whole life: follow, take over from a resigned Master, give way to it, take over from a dead one.
fn live(speech: Speech, better: Router, worse: Router) {
    let mut story = Story::new(speech, [better, worse]);
    story.begin();
    story.terminate_a();
    story.stays(B, speech.advert_int * 4);
    story.preempt();
    story.kill_a();
    thread::sleep(speech.advert_int * 2);
    story.must(story.watch().holders().contains(&B), "the new MASTER lost the address again");
    story.ends_with([2, 2]);
}

/// RFC 9568, 6.1 and 6.4.2: a Backup counts in its Master's interval, whatever its own is. By its own, the takeover would
/// be seven seconds later.
fn learn(speech: Speech, better: Router, worse: Router) {
    let mut story = Story::new(speech, [better, worse]);
    story.begin();
    story.kill_a();
}

/// The cable of the better node comes out, and is put back.
fn pull_cable(better: Router, worse: Router) {
    let mut story = Story::new(V3, [better, worse]);
    story.begin();
    let at = clock::now();
    story.lan.set_cable(A, false).unwrap();
    story.takes_over(B, at, V3.takes_over_from_silent());
    story.must(story.watch().alone(B, Duration::from_secs(2)).is_some(), "a node without carrier keeps the address");
    story.stays(B, Duration::from_secs(1));
    story.lan.set_cable(A, true).unwrap();
    story.must(story.watch().alone(A, V3.preempts()).is_some(), "the better node does not come back");
    story.stays(A, Duration::from_secs(1));
    story.ends_with([2, 1]);
}

/// VRRP between the nodes is dropped silently: both hold, as RFC 9568, 8.3.1, has it, until it is heard again.
fn drop_vrrp(better: Router, worse: Router) {
    let mut story = Story::new(V3, [better, worse]);
    story.begin();
    let at = clock::now();
    story.lan.cut_nodes(Network::Lan, Class::Vrrp).unwrap();
    story.takes_over(B, at, V3.takes_over_from_silent());
    thread::sleep(Duration::from_secs(1));
    story.must(story.watch().holders() == [A, B], "without an authority, each of two deaf nodes is MASTER");
    let healed = clock::now();
    story.lan.heal().unwrap();
    story.must(story.watch().alone(A, Duration::from_secs(3)).is_some(), "the worse node does not give way");
    let overlap = story.watch().overlap(healed, healed + nanos(Duration::from_secs(3)));
    story.must(overlap <= V3.heals(), &format!("both held the address for {overlap:?} after the repair"));
    story.stays(A, Duration::from_secs(2));
    story.ends_with([1, 1]);
}

/// Neither believes the other: both hold, as two that are deaf do, and both say why.
fn refuse(speech: Speech, programs: [Router; 2], words: [&str; 2]) {
    let mut story = Story::new(speech, programs);
    story.start(A);
    let alone = story.watch().alone(A, speech.preempts() + Duration::from_secs(2));
    story.must(alone.is_some(), "the first node does not become MASTER");
    story.start(B);
    story.must(story.watch().has(B, speech.preempts() + Duration::from_secs(2)).is_some(), "n2 follows n1");
    for (node, words) in [A, B].into_iter().zip(words) {
        story.says(node, words, Duration::from_secs(5));
        story.must(!story.said(node).contains("s3cret"), "a key was shown");
    }
    // For some Advertisements more.
    thread::sleep(speech.advert_int * 3);
    story.must(story.watch().holders() == [A, B], "one of them gave way");
}

const KEYS: Auth = Auth { passwords: ["s3cret12", "s3cret13"], ..AH };
const NO_HEADER: Auth = Auth { kinds: ["AH", "PASS"], ..AH };
const INVALID: &str = "invalid IPSEC HMAC-MD5 value";
const OTHER: &str = "advertises with another authentication or password than ours";

#[test]
fn keepone_and_keepalived_with_another_key_refuse_each_other() {
    refuse(Speech { auth: Some(KEYS), ..V2 }, [Keepone, Keepalived], [OTHER, INVALID]);
}

#[test]
fn keepalived_and_keepone_with_another_key_refuse_each_other() {
    refuse(Speech { auth: Some(KEYS), ..V2 }, [Keepalived, Keepone], [INVALID, OTHER]);
}

/// The other one sees no packet at all, since it looks for another protocol.
#[test]
fn keepone_with_a_key_refuses_keepalived_with_the_same_password_in_clear() {
    refuse(Speech { auth: Some(NO_HEADER), ..V2 }, [Keepone, Keepalived], [OTHER, "Entering MASTER STATE"]);
}

const OTHER_KEYS: Hmac = Hmac {
    lines: [
        "key 1 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1",
        "key 1 s3cret-fedcba9876543210fedcba9876543210\nactive_key 1",
    ],
};
const OTHER_NUMBERS: Hmac = Hmac {
    lines: [
        "key 1 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1",
        "key 2 s3cret-0123456789abcdef0123456789abcdef\nactive_key 2\nmode permissive",
    ],
};
/// The second of three steps to signed Advertisements: one node has taken it.
const BEGINNING: Hmac = Hmac {
    lines: [
        "key 1 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1\nmode permissive",
        "key 1 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1\nmode receive-only",
    ],
};
/// The third: the other one signs, too, and is not believed yet by all.
const ENDING: Hmac = Hmac {
    lines: [
        "key 1 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1\nmode enforce",
        "key 1 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1\nmode permissive\nanti_replay monotonic",
    ],
};

#[test]
fn keepone_and_keepone_with_another_key_for_signatures_refuse_each_other() {
    let words = "signs its Advertisements with another key 1 than ours";
    refuse(Speech { hmac: Some(OTHER_KEYS), ..V3 }, [Keepone, Keepone], [words; 2]);
}

#[test]
fn a_signature_of_an_unknown_key_is_refused_even_where_the_unsigned_are_heard() {
    let words =
        ["signs its Advertisements with key 2, which is none", "signs its Advertisements with key 1, which is none"];
    refuse(Speech { hmac: Some(OTHER_NUMBERS), ..V2 }, [Keepone, Keepone], words);
}

/// From none to signed Advertisements, and then to another key, node by node: the Master stays.
#[test]
fn keys_come_and_are_changed_by_reloads_and_the_master_stays() {
    const OLD: &str = "key 1 s3cret-0123456789abcdef0123456789abcdef\n";
    const NEW: &str = "key 2 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    let steps = [
        format!("{OLD}active_key 1\nmode receive-only"),
        format!("{OLD}active_key 1\nmode permissive"),
        format!("{OLD}active_key 1"),
        format!("{OLD}{NEW}active_key 1"),
        format!("{OLD}{NEW}active_key 2"),
        format!("{NEW}active_key 2"),
    ];
    let mut story = Story::new(V3, [Keepone, Keepone]);
    story.begin();
    for step in steps {
        let lines: &'static str = step.leak();
        for node in [B, A] {
            story.reload(node, Speech { hmac: Some(Hmac { lines: [lines; 2] }), ..V3 });
            // More than a Master_Down_Interval: who is not heard is not Master alone any more.
            story.stays(A, V3.down_interval(B) + Duration::from_millis(300));
        }
    }
    for node in [A, B] {
        let said = story.said(node);
        story.must(!said.contains("s3cret") && !said.contains("0123456789"), "a key was shown");
        story.must(!said.contains("config-mismatch"), "somebody was not proven");
    }
    story.ends_with([1, 0]);
}

/// With a keepalived that signs as it does now: else there is nothing to see.
#[test]
fn keepone_and_a_new_keepalived_with_another_key_for_signatures_refuse_each_other() {
    if Keepalived.signs() {
        let (ours, theirs) = ("signs its Advertisements with another key 1 than ours", "invalid authentication HMAC");
        refuse(Speech { hmac: Some(OTHER_KEYS), ..V3 }, [Keepone, Keepalived], [ours, theirs]);
        refuse(Speech { hmac: Some(OTHER_KEYS), ipv6: true, ..V3 }, [Keepalived, Keepone], [theirs, ours]);
    }
}

#[test]
fn no_node_is_unheard_on_the_way_to_signed_advertisements() {
    let routers: &[Router] = if Keepalived.signs() { &[Keepone, Keepalived] } else { &[Keepone] };
    for other in routers {
        for hmac in [BEGINNING, ENDING] {
            live(Speech { hmac: Some(hmac), ..V3 }, Keepone, *other);
        }
    }
}

macro_rules! lives {
    ($($name:ident: $speech:expr, $better:expr, $worse:expr;)*) => {
        $(#[test] fn $name() { live($speech, $better, $worse); })*
    };
}

lives! {
    keepone_follows_keepone_v2_with_ah: Speech { auth: Some(AH), ..V2 }, Keepone, Keepone;
    keepone_follows_keepone_v2_signed: Speech { hmac: Some(HMAC), ..V2 }, Keepone, Keepone;
    keepone_follows_keepone_v3_signed: Speech { hmac: Some(HMAC), ..V3 }, Keepone, Keepone;
    keepone_follows_keepone_v3_ipv6_signed: Speech { hmac: Some(HMAC), ipv6: true, ..V3 }, Keepone, Keepone;
    keepone_follows_keepone_v3_multicast: V3, Keepone, Keepone;
    keepone_follows_keepone_v3_with_a_plain_checksum: Speech { plain_checksum: true, ..V3 }, Keepone, Keepone;
    keepone_follows_keepone_v3_ipv6_unicast: Speech { ipv6: true, unicast: true, ..V3 }, Keepone, Keepone;
}

macro_rules! learns {
    ($($name:ident: $speech:expr, $better:expr, $worse:expr;)*) => {
        $(#[test] fn $name() { learn(Speech { advert_int_of_b: Some(Duration::from_secs(2)), ..$speech }, $better, $worse); })*
    };
}

learns! {
    keepone_counts_in_the_interval_of_keepalived: V3, Keepalived, Keepone;
    keepalived_counts_in_the_interval_of_keepone: V3, Keepone, Keepalived;
    keepone_counts_in_the_interval_of_keepone_over_ipv6: Speech { ipv6: true, ..V3 }, Keepone, Keepone;
    keepone_counts_in_the_interval_of_frr: V3, Frr, Keepone;
}

#[test]
fn keepone_takes_over_when_keepalived_loses_its_cable() {
    pull_cable(Keepalived, Keepone);
}

#[test]
fn keepalived_takes_over_when_keepone_loses_its_cable() {
    pull_cable(Keepone, Keepalived);
}

#[test]
fn keepone_gives_way_when_it_hears_keepalived_again() {
    drop_vrrp(Keepalived, Keepone);
}

#[test]
fn keepalived_gives_way_when_it_hears_keepone_again() {
    drop_vrrp(Keepone, Keepalived);
}
