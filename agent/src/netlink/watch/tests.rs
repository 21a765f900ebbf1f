use super::*;
use crate::net::namespace::{World, ip, silent, soon};
use crate::netlink::address::{Addresses, Lifetime, VirtualAddress};

const VIP: &str = "10.9.0.100";

fn open() -> Watch {
    Watch::open(["near0".to_owned()], Wanted::default()).unwrap()
}

/// The first snapshot that is as wanted.
async fn until(watch: &mut Watch, mut wanted: impl FnMut(&Interface) -> bool) -> Interface {
    soon(async {
        loop {
            if let Change::Interface(interface) = watch.next().await.unwrap() {
                assert_eq!(interface.name, "near0");
                if wanted(&interface) {
                    return interface;
                }
            }
        }
    })
    .await
}

async fn gone(watch: &mut Watch) -> AddressGone {
    soon(async {
        loop {
            if let Change::AddressGone(gone) = watch.next().await.unwrap() {
                return gone;
            }
        }
    })
    .await
}

#[test]
fn the_start_tells_how_things_are() {
    World::run(async |_: &World| {
        let mut watch = Watch::open(["near0".to_owned(), "nothere0".to_owned()], Wanted::default()).unwrap();
        let (first, second) = (soon(watch.next()).await.unwrap(), soon(watch.next()).await.unwrap());
        let Change::Interface(near) = first else { panic!("{first:?}") };
        assert_eq!(near.ifindex, nix::net::if_::if_nametoindex("near0").ok());
        assert_eq!((near.name.as_str(), near.mtu, near.mac.is_some()), ("near0", 1500, true));
        let own: Vec<IpAddr> = near.usable().collect();
        assert_eq!(own, ["10.9.0.1".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        assert_eq!(second, Change::Interface(Interface::absent("nothere0")));
        if !near.up {
            until(&mut watch, |near| near.up).await;
        }
        assert!(silent(watch.next()).await, "nothing more until something changes");
    });
}

#[test]
fn a_link_goes_down_and_up_by_the_operator_and_by_the_cable() {
    World::run(async |world: &World| {
        let mut watch = open();
        until(&mut watch, |near| near.up).await;
        ip("link set near0 down");
        until(&mut watch, |near| !near.up).await;
        ip("link set near0 up");
        until(&mut watch, |near| near.up).await;
        world.far(|| ip("link set far0 down"));
        let pulled = until(&mut watch, |near| !near.up).await;
        assert!(pulled.ifindex.is_some());
        world.far(|| ip("link set far0 up"));
        until(&mut watch, |near| near.up).await;
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_again_has_a_new_index() {
    World::run(async |world: &World| {
        let mut watch = open();
        let first = until(&mut watch, |near| near.up).await;
        ip("link del near0");
        let absent = until(&mut watch, |near| near.ifindex.is_none()).await;
        assert_eq!(absent, Interface::absent("near0"));
        world.cable();
        let second = until(&mut watch, |near| near.up && near.addresses.len() == 2).await;
        assert!(second.ifindex.is_some());
        assert_ne!(second.ifindex, first.ifindex);
        assert_ne!(second.mac, first.mac);
    });
}

#[test]
fn a_renamed_interface_is_gone_until_it_is_named_back() {
    World::run(async |_: &World| {
        let mut watch = open();
        until(&mut watch, |near| near.up).await;
        ip("link set near0 down");
        ip("link set near0 name lan0");
        until(&mut watch, |near| near.ifindex.is_none()).await;
        ip("link set lan0 name near0");
        ip("link set near0 up");
        until(&mut watch, |near| near.up).await;
    });
}

#[test]
fn an_address_that_somebody_takes_away_is_reported_and_our_own_removal_is_not() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let mut watch = Watch::open(["near0".to_owned()], addresses.wanted()).unwrap();
        let vip = [VirtualAddress::new("near0", VIP.parse().unwrap(), 32)];
        let has = |near: &Interface| near.addresses.iter().any(|address| address.address == vip[0].address);
        addresses.set(&vip, Lifetime::FOREVER).await.unwrap();
        until(&mut watch, has).await;
        addresses.remove(&vip).await.unwrap();
        // `until` skips news of another kind, so look at each here.
        let next = soon(watch.next()).await.unwrap();
        assert!(matches!(&next, Change::Interface(near) if !has(near)), "{next:?}");

        addresses.set(&vip, Lifetime::FOREVER).await.unwrap();
        until(&mut watch, has).await;
        ip("addr del 10.9.0.100/32 dev near0");
        let report = gone(&mut watch).await;
        assert_eq!((report.address, report.prefix_len), (vip[0].address, 32));
        assert!(report.port.is_some_and(|port| port != 0), "{report:?}");

        addresses.set(&vip, Lifetime::seconds(1)).await.unwrap();
        assert_eq!(gone(&mut watch).await.port, Some(0), "the kernel, at the end of the lifetime");

        addresses.set(&vip, Lifetime::FOREVER).await.unwrap();
        until(&mut watch, has).await;
        ip("link del near0");
        assert_eq!(gone(&mut watch).await.address, vip[0].address);
    });
}

#[test]
fn lost_notices_lead_to_a_reading_of_everything() {
    World::run(async |_: &World| {
        let mut watch = open();
        // Room for a handful of notices.
        socket2::SockRef::from(watch.fd.get_ref()).set_recv_buffer_size(4096).unwrap();
        until(&mut watch, |near| near.up).await;
        let addresses = Addresses::open().unwrap();
        let vip = [VirtualAddress::new("near0", VIP.parse().unwrap(), 32)];
        addresses.set(&vip, Lifetime::seconds(600)).await.unwrap();
        until(&mut watch, |near| near.addresses.len() == 3).await;
        let many: Vec<VirtualAddress> = (0..500_u32)
            .map(|n| VirtualAddress::new("near0", IpAddr::from(std::net::Ipv4Addr::from(0x0a09_1000 + n)), 32))
            .collect();
        for _ in 0..3 {
            addresses.set(&many, Lifetime::seconds(600)).await.unwrap();
            addresses.remove(&many).await.unwrap();
        }
        addresses.remove(&vip).await.unwrap();
        ip("link set near0 down");
        let after = until(&mut watch, |near| !near.up && near.addresses.len() <= 2).await;
        assert_eq!(after.addresses.first().map(|own| own.address), Some("10.9.0.1".parse().unwrap()));
        ip("link set near0 up");
        until(&mut watch, |near| near.up).await;
    });
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_gone() {
    World::run(async |_: &World| {
        let mut watch = open();
        until(&mut watch, |near| near.up).await;
        ip("link add bridge0 type bridge");
        ip("link set near0 master bridge0");
        ip("link set near0 nomaster");
        let lost = until(&mut watch, |near| near.ifindex.is_none() || near.addresses.is_empty());
        let told = tokio::time::timeout(Duration::from_millis(500), lost).await;
        assert!(told.is_err(), "{told:?}");
    });
}

#[test]
fn an_address_that_goes_along_with_another_of_its_subnet_is_reported() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let mut watch = Watch::open(["near0".to_owned()], addresses.wanted()).unwrap();
        // Of a subnet of their own the first is the primary one.
        let [first, second] =
            ["192.0.2.10", "192.0.2.11"].map(|text| VirtualAddress::new("near0", text.parse().unwrap(), 24));
        addresses.set(std::slice::from_ref(&first), Lifetime::seconds(600)).await.unwrap();
        addresses.set(std::slice::from_ref(&second), Lifetime::seconds(600)).await.unwrap();
        addresses.remove(&[first]).await.unwrap();
        assert_eq!(gone(&mut watch).await.address, second.address);
        addresses.set(std::slice::from_ref(&second), Lifetime::FOREVER).await.unwrap();
        until(&mut watch, |near| near.addresses.iter().any(|address| address.address == second.address)).await;
    });
}

#[test]
fn a_thousand_addresses_that_come_at_once_are_few_changes() {
    World::run(async |_: &World| {
        let mut watch = open();
        until(&mut watch, |near| near.up).await;
        let addresses = Addresses::open().unwrap();
        let many: Vec<VirtualAddress> = (0..1000_u32)
            .map(|n| VirtualAddress::new("near0", IpAddr::from(std::net::Ipv4Addr::from(0x0a09_1000 + n)), 32))
            .collect();
        addresses.set(&many, Lifetime::seconds(600)).await.unwrap();
        let mut changes = 0;
        until(&mut watch, |near| {
            changes += 1;
            near.addresses.len() == 1002
        })
        .await;

        assert!(changes <= 10, "{changes} changes");
        // Renewals are no news at all.
        addresses.set(&many, Lifetime::seconds(700)).await.unwrap();
        assert!(silent(watch.next()).await);
    });
}

#[test]
fn virtual_addresses_are_no_news_of_their_interface_and_their_end_is() {
    World::run(async |_: &World| {
        let addresses = Addresses::open().unwrap();
        let mut watch = Watch::open(["near0".to_owned()], addresses.wanted()).unwrap();
        until(&mut watch, |near| near.up && near.addresses.len() == 2).await;
        let vips = ["192.0.2.10", "192.0.2.11"].map(|text| VirtualAddress::new("near0", text.parse().unwrap(), 24));
        addresses.set(&vips, Lifetime::seconds(600)).await.unwrap();
        addresses.set(&vips, Lifetime::seconds(700)).await.unwrap();
        assert!(silent(watch.next()).await, "of thousands each change would cost a copy of all");
        ip("addr del 192.0.2.11/24 dev near0");
        assert_eq!(gone(&mut watch).await.address, vips[1].address);
        addresses.set(&vips, Lifetime::seconds(600)).await.unwrap();
        addresses.remove(&vips).await.unwrap();
        assert!(silent(watch.next()).await, "removed in good order");
        ip("addr add 192.0.2.12/24 dev near0");
        let near = until(&mut watch, |near| near.addresses.len() == 3).await;
        assert!(near.addresses.iter().all(|own| own.address != vips[0].address));
    });
}

#[test]
fn the_watch_and_the_writer_run_on_any_thread() {
    fn spawnable<T: Send + 'static>(_: T) {}
    async fn both(mut watch: Watch, addresses: Addresses) {
        let _ = (watch.next().await, addresses.set(&[], Lifetime::FOREVER).await, addresses.remove(&[]).await);
    }
    World::run(async |_: &World| spawnable(both(open(), Addresses::open().unwrap())));
}
