use super::*;
use crate::net::namespace::{World, ip};

fn vip(text: &str, prefix_len: u8) -> VirtualAddress {
    VirtualAddress::new("near0", text.parse().unwrap(), prefix_len)
}

fn shown() -> String {
    ip("addr show dev near0")
}

/// The line of an address and the next, where its lifetime stands.
fn line(text: &str) -> Option<String> {
    let all = shown();
    let mut lines = all.lines().skip_while(|line| !line.contains(text));
    Some(format!("{} {}", lines.next()?, lines.next()?))
}

fn lifetime(text: &str) -> u32 {
    let line = line(text).unwrap();
    let (_, rest) = line.split_once("valid_lft ").unwrap();
    rest.split_once("sec").unwrap().0.parse().unwrap()
}

#[test]
fn an_address_is_added_with_all_that_was_asked_for_and_removed() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let wanted = [
            VirtualAddress {
                broadcast: Some(Ipv4Addr::new(10, 10, 0, 255)),
                scope: 253,
                label: Some("near0:vip".to_owned()),
                ..vip("10.10.0.100", 24)
            },
            vip("fd00::100", 64),
        ];
        addresses.set(&wanted, Lifetime { valid_s: 60, preferred_s: 30 }).await.unwrap();
        let v4 = line("10.10.0.100/24").unwrap();
        for word in ["brd 10.10.0.255", "scope link", "near0:vip", "preferred_lft 30sec"] {
            assert!(v4.contains(word), "{word}: {v4}");
        }
        let v6 = line("fd00::100/64").unwrap();
        assert!(v6.contains("nodad") && !v6.contains("tentative"), "{v6}");
        for text in ["10.10.0.100", "fd00::100"] {
            assert!((50..=60).contains(&lifetime(text)), "{}", lifetime(text));
        }
        addresses.remove(&wanted).await.unwrap();
        assert!(line("10.10.0.100").is_none() && line("fd00::100").is_none(), "{}", shown());
    });
}

#[test]
fn the_options_of_an_address_are_the_kernels() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let with = |text: &str, prefix_len, flags| VirtualAddress { flags, ..vip(text, prefix_len) };
        let wanted = [
            VirtualAddress { peer: Some(("10.8.0.2".parse().unwrap(), 30)), ..vip("10.8.0.1", 32) },
            with("10.10.0.1", 24, flags::NOPREFIXROUTE),
            VirtualAddress { peer: Some(("fd07::2".parse().unwrap(), 128)), ..vip("fd07::1", 128) },
            with("fd02::1", 64, flags::NODAD | flags::HOMEADDRESS),
            with("fd03::1", 64, flags::NODAD | flags::MANAGETEMPADDR),
            with("fd04::1", 64, flags::NODAD | flags::NOPREFIXROUTE),
            with("fd05::1", 64, 0),
            VirtualAddress { preferred_s: Some(0), ..vip("fd06::1", 128) },
            with("ff05::77", 64, flags::NODAD | flags::MCAUTOJOIN),
        ];
        let lived: Vec<_> = wanted.iter().map(|one| (one, one.lifetime(60, Duration::ZERO))).collect();
        for answer in addresses.set_each(lived).await {
            answer.unwrap();
        }
        for (address, words) in [
            ("10.8.0.1", "peer 10.8.0.2/30"),
            ("10.10.0.1/24", "noprefixroute"),
            ("fd07::1", "peer fd07::2/128"),
            ("fd02::1/64", "home"),
            ("fd03::1/64", "mngtmpaddr"),
            ("fd04::1/64", "noprefixroute"),
            ("fd06::1/128", "deprecated"),
            ("fd06::1/128", "preferred_lft 0sec"),
            ("ff05::77/64", "autojoin"),
        ] {
            let line = line(address).unwrap_or_else(|| panic!("no {address}: {}", shown()));
            assert!(line.contains(words), "{words}: {line}");
        }
        // Duplicate address detection takes its time where it is wanted.
        assert!(line("fd05::1/64").unwrap().contains("tentative"), "{}", shown());
        let routes = ip("route show") + &ip("-6 route show");
        assert!(
            !routes.contains("10.10.0.0/24") && !routes.contains("fd04::/64") && routes.contains("fd03::/64"),
            "{routes}"
        );
        addresses.remove(&wanted).await.unwrap();
        for address in &wanted {
            assert!(
                line(&format!(" {} ", address.address)).is_none() && line(&format!(" {}/", address.address)).is_none(),
                "{}",
                shown()
            );
        }
    });
}

#[test]
fn preferred_lft_counts_from_the_first_setting() {
    let limited = VirtualAddress { preferred_s: Some(100), ..vip("10.9.0.100", 24) };
    let after = |age| limited.lifetime(60, Duration::from_secs(age)).preferred_s;
    assert_eq!([after(0), after(70), after(100), after(1000)], [100, 30, 0, 0]);
    let forever = VirtualAddress { preferred_s: Some(u32::MAX), ..limited.clone() };
    assert_eq!(forever.lifetime(60, Duration::from_secs(1000)), Lifetime::seconds(60));
    assert_eq!(vip("10.9.0.100", 24).lifetime(60, Duration::from_secs(1000)), Lifetime::seconds(60));
}

#[test]
fn a_second_setting_renews_the_lifetime() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let wanted = [vip("10.9.0.100", 32), vip("fd00::100", 128)];
        addresses.set(&wanted, Lifetime::seconds(20)).await.unwrap();
        addresses.set(&wanted, Lifetime::seconds(500)).await.unwrap();
        for text in ["10.9.0.100", "fd00::100"] {
            assert!((450..=500).contains(&lifetime(text)), "{}", lifetime(text));
        }
        addresses.set(&wanted, Lifetime::FOREVER).await.unwrap();
        assert!(line("10.9.0.100").unwrap().contains("valid_lft forever"));
        assert!(line("fd00::100").unwrap().contains("valid_lft forever"));
    });
}

#[test]
fn an_address_that_nobody_renews_goes_by_itself() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        addresses.set(&[vip("10.9.0.100", 32), vip("fd00::100", 128)], Lifetime::seconds(1)).await.unwrap();
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if line("10.9.0.100").is_none() && line("fd00::100").is_none() {
                return;
            }
        }
        panic!("still there after 10 s: {}", shown());
    });
}

#[test]
fn what_is_absent_or_nowhere_is_no_error_to_remove() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let nowhere = VirtualAddress::new("nothere0", "10.9.0.100".parse().unwrap(), 24);
        addresses.remove(&[vip("10.9.0.100", 24), vip("fd00::100", 64), nowhere.clone()]).await.unwrap();
        let errors = addresses.set(&[nowhere, vip("10.9.0.101", 24)], Lifetime::seconds(9)).await.unwrap_err();
        assert!(matches!(&errors.0[..], [AddressError::InterfaceGone { .. }]), "{errors}");
        assert!(line("10.9.0.101").is_some(), "the others are done all the same");
    });
}

#[test]
fn a_removal_takes_the_address_under_every_prefix() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        ip("addr add 10.9.0.100/32 dev near0");
        ip("addr add 10.9.0.100/24 dev near0");
        addresses.remove(&[vip("10.9.0.100", 24)]).await.unwrap();
        assert!(line("10.9.0.100").is_none(), "{}", shown());
        ip("addr add fd00::100/64 dev near0 nodad");
        addresses.remove(&[vip("fd00::100", 128)]).await.unwrap();
        assert!(line("fd00::100").is_none(), "{}", shown());
    });
}

#[test]
fn what_an_earlier_life_left_is_found_and_removed() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        ip("addr add 10.9.0.100/32 dev near0");
        ip("addr add fd00::100/64 dev near0 nodad");
        let configured = [
            vip("10.9.0.100", 24),
            vip("10.9.0.101", 24),
            vip("fd00::100", 128),
            VirtualAddress::new("nothere0", "10.1.1.1".parse().unwrap(), 24),
        ];
        let stale = addresses.remove_stale(&configured).await.unwrap();
        assert_eq!(stale, [configured[0].address, configured[2].address]);
        assert!(line("10.9.0.1/24").is_some() && line("fe80::1").is_some(), "our own stay");
        assert!(line("10.9.0.100").is_none() && line("fd00::100").is_none(), "{}", shown());
        assert!(addresses.remove_stale(&configured).await.unwrap().is_empty());
    });
}

#[test]
fn a_thousand_addresses_are_one_request() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let many: Vec<VirtualAddress> = (0..1000_u32)
            .map(|n| VirtualAddress::new("near0", IpAddr::from(Ipv4Addr::from(0x0a09_1000 + n)), 32))
            .collect();
        addresses.set(&many, Lifetime::seconds(60)).await.unwrap();
        assert_eq!(shown().matches("10.9.1").count(), 1000);
        addresses.remove(&many).await.unwrap();
        assert_eq!(shown().matches("10.9.1").count(), 0);
    });
}

#[test]
fn each_error_says_what_to_do() {
    let address = "10.9.0.100".parse().unwrap();
    let says = |errno| {
        let refusal = Refusal { errno, words: String::new() };
        AddressError::of("add", address, "eth0", refusal).to_string()
    };
    assert!(says(Some(Errno::EPERM)).contains("CAP_NET_ADMIN"));
    assert!(says(Some(Errno::ENODEV)).contains("eth0 does not exist"));
    assert!(says(None).contains("rtnl"));
    assert!(says(Some(Errno::EINVAL)).contains("label"));
}

/// A thousand instances of twenty addresses each: how long the thread that sets them is busy, and how long it takes.
#[test]
#[ignore = "a measurement, for an optimised build: `cargo test --release -p keepone-agent --lib twenty_thousand -- --ignored --nocapture`"]
fn twenty_thousand_addresses_take_less_than_a_second() {
    use nix::sys::time::TimeValLike;
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        for interfaces in [1, 10, 100, 1000_u32] {
            let name = |n: u32| format!("m{}", n % interfaces);
            for n in 0..interfaces {
                ip(&format!(
                    "link add link near0 name {} address 02:00:00:00:{:02x}:{:02x} type macvlan mode private",
                    name(n),
                    n >> 8,
                    n & 255
                ));
                ip(&format!("link set {} addrgenmode none up", name(n)));
            }
            let many: Vec<VirtualAddress> = (0..20_000_u32)
                .map(|n| VirtualAddress::new(&name(n / 20), IpAddr::from(Ipv4Addr::from(0x0a40_0000 + n)), 32))
                .collect();
            let busy = || nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).unwrap();
            let cpu = |usage: nix::sys::resource::Usage| {
                let of = |time: nix::sys::time::TimeVal| {
                    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap())
                };
                of(usage.user_time()) + of(usage.system_time())
            };
            for what in ["set", "renewed", "removed"] {
                let (began, before) = (crate::clock::now(), cpu(busy()));
                match what {
                    "removed" => addresses.remove(&many).await.unwrap(),
                    _ => addresses.set(&many, Lifetime::seconds(60)).await.unwrap(),
                }
                println!(
                    "{interfaces:5} interfaces: 20000 addresses {what}: thread busy {:?}, it took {:?}",
                    cpu(busy()) - before,
                    crate::clock::now().since(began)
                );
            }
            for n in 0..interfaces {
                ip(&format!("link del {}", name(n)));
            }
        }
    });
}
