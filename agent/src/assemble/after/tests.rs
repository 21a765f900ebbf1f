//! Numbers that stay, and what is in the plan until it is gone.

use std::path::Path;

use keepone_config::Environment;

use super::*;

fn config(text: &str) -> Config {
    let loaded = keepone_config::load_text(Path::new("t.conf"), text, &Environment::default());
    loaded.unwrap_or_else(|errors| panic!("{errors:?}")).0
}

fn instance(name: &str, interface: &str, vrid: u8, address: &str, more: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n interface {interface}\n virtual_router_id {vrid}\n priority 100\n {more}\n \
         virtual_ipaddress {{\n {address}\n }}\n}}\n"
    )
}

fn script(name: &str) -> String {
    format!("vrrp_script {name} {{\n script \"/bin/{name}\"\n interval 5\n}}\n")
}

fn tracks(name: &str) -> String {
    format!("track_script {{\n {name}\n }}")
}

fn id(name: &str) -> DomainId {
    DomainId(keepone_proto::id::hash_name(name))
}

fn instances(plan: &Plan, name: &str) -> Vec<u16> {
    plan.domain(id(name)).map(|domain| domain.instances.iter().map(|id| id.0).collect()).unwrap_or_default()
}

#[test]
fn what_stays_keeps_its_number_wherever_it_stands_in_the_file_and_what_is_new_comes_after_all() {
    let b = instance("B", "eth1", 2, "192.0.2.2", &tracks("two"));
    let old = format!("{}{}{}{b}", script("one"), script("two"), instance("A", "eth0", 1, "192.0.2.1", &tracks("one")));
    let plan = Plan::new(&config(&old));
    let new =
        format!("{}{}{}{b}", script("zero"), script("two"), instance("C", "eth2", 3, "192.0.2.3", &tracks("zero")));
    let after = plan.after(&config(&new)).unwrap();
    assert_eq!((instances(&after, "B"), instances(&after, "C")), (vec![1], vec![2]));
    let names: Vec<&str> = after.settings.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["eth0", "eth1", "eth2"]);
    assert_eq!(after.settings.domains.iter().find(|d| d.id == id("B")), plan.domain(id("B")), "equal to the core");
    assert_eq!(after.settings.instances[1], plan.settings.instances[1]);
    let scripts: Vec<&str> = after.settings.scripts.iter().map(|script| script.name.as_str()).collect();
    assert_eq!(scripts, ["one", "two", "zero"]);
    assert_eq!(after.tracked_scripts(), [ScriptId(1), ScriptId(2)].into());
    // One that comes back is another: its thread has ended.
    let back = after.after(&config(&old)).unwrap();
    assert_eq!(back.tracked_scripts(), [ScriptId(1), ScriptId(3)].into());
}

#[test]
fn what_is_given_up_is_in_the_plan_until_the_core_says_that_it_is_gone() {
    let a = instance("A", "eth0", 1, "192.0.2.1", "");
    let plan = Plan::new(&config(&format!("{a}{}", instance("B", "eth0", 2, "192.0.2.2", ""))));
    let mut after = plan.after(&config(&a)).unwrap();
    let b = id("B");
    assert!(after.is_removed(b) && !after.is_removed(id("A")));
    assert!(after.addresses.contains_key(&b) && after.transports[1].is_some());
    let gated = |plan: &Plan| plan.gated().iter().any(|domain| domain.id == b);
    assert!(gated(&after) && after.gone_in(&after).is_empty());
    assert!(plan.gone_in(&after).is_empty(), "the core takes them out");
    after.retire(b);
    assert!(!after.addresses.contains_key(&b) && after.transports[1].is_none() && !gated(&after));
    assert_eq!(after.domain_name(b), "B", "for words about it");
    // Its place is free.
    let again = after.after(&config(&format!("{a}{}", instance("C", "eth0", 3, "192.0.2.3", "")))).unwrap();
    assert_eq!(instances(&again, "C"), [1]);
}

#[test]
fn another_router_of_the_same_name_waits_for_the_end_of_the_former_one() {
    let plan = Plan::new(&config(&instance("A", "eth0", 1, "192.0.2.1", "")));
    let mut after = plan.after(&config(&instance("A", "eth0", 7, "192.0.2.7", ""))).unwrap();
    let of = |plan: &Plan| plan.addresses[&id("A")][0].address.to_string();
    assert_eq!((instances(&after, "A"), of(&after), after.is_removed(id("A"))), (vec![1], "192.0.2.1".into(), false));
    let gated = plan.gated_with(&after);
    assert_eq!((gated[0].addresses.len(), gated[0].routers.len()), (2, 2));
    // A third one before the first has ended.
    let third = after.after(&config(&instance("A", "eth1", 7, "192.0.2.7", ""))).unwrap();
    assert_eq!((instances(&third, "A"), of(&third)), (vec![2], "192.0.2.1".into()));
    assert!(third.transports[0].is_some() && third.transports[1].is_none(), "the second one never began");
    let mut third = third;
    third.retire(id("A"));
    assert_eq!((of(&third), third.addresses[&id("A")][0].interface.as_str()), ("192.0.2.7".into(), "eth1"));
    after.retire(id("A"));
    assert_eq!(of(&after), "192.0.2.7");
    assert!(after.transports[0].is_none() && after.transports[1].is_some());
}

#[test]
fn an_address_of_another_lease_takes_a_new_worker() {
    let plan = Plan::new(&config(&instance("A", "eth0", 1, "192.0.2.1", "")));
    let words = plan.after(&config(&instance("B", "eth0", 1, "192.0.2.1", ""))).unwrap_err();
    assert!(words.starts_with("192.0.2.1 moves from A to B"), "{words}");
}

#[test]
fn sessions_and_track_groups_come_and_go_and_one_that_comes_back_has_a_number_of_its_own() {
    let session = |name: &str, last: u8| format!("bfd_instance {name} {{\n neighbor_ip 192.0.2.{last}\n}}\n");
    let tracking = |names: &str| instance("A", "eth0", 1, "192.0.2.1", &format!("track_bfd {{\n {names}\n }}"));
    let fixed = |group: &str| {
        let members =
            if group.is_empty() { String::new() } else { "track_group G {\n group {\n A\n }\n}\n".to_owned() };
        format!("{members}static_routes {{\n 198.51.100.0/24 via 192.0.2.9{group}\n}}\n")
    };
    let all = format!("{}{}", session("r", 8), session("s", 9));
    let plan = Plan::new(&config(&format!("{all}{}{}", tracking("r"), fixed(""))));
    let of = |plan: &Plan| {
        let tracked = plan.tracked_watches().into_iter().map(|id| id.0).collect::<Vec<_>>();
        (tracked, plan.track_groups.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
    };
    assert_eq!(of(&plan), (vec![0], vec![]));
    let grouped = fixed(" track_group G");
    let after = plan.after(&config(&format!("{all}{}{grouped}", tracking("r\n s")))).unwrap();
    assert_eq!(of(&after), (vec![0, 1, 2], vec![2]));
    let again = after.after(&config(&format!("{all}{}{grouped}", tracking("s")))).unwrap();
    assert_eq!(of(&again), (vec![1, 2], vec![2]), "what is alike keeps its number");
    let none = again.after(&config(&format!("{all}{}{}", tracking("s"), fixed("")))).unwrap();
    assert_eq!(of(&none), (vec![1], vec![]));
    let back = none.after(&config(&format!("{all}{}{grouped}", tracking("r\n s")))).unwrap();
    assert_eq!(of(&back), (vec![1, 3, 4], vec![4]), "nobody has told of the former ones");
}

#[test]
fn addresses_that_change_are_gone_as_they_were_and_the_core_is_told_of_others() {
    let plan = Plan::new(&config(&instance("A", "eth0", 1, "192.0.2.1/24\n 192.0.2.2/24", "")));
    let after = plan.after(&config(&instance("A", "eth0", 1, "192.0.2.1/25\n 192.0.2.3/24", ""))).unwrap();
    let gone: Vec<(String, u8)> =
        plan.gone_in(&after).iter().map(|vip| (vip.address.to_string(), vip.prefix_len)).collect();
    assert_eq!(gone, [("192.0.2.1".to_owned(), 24), ("192.0.2.2".to_owned(), 24)]);
    assert_ne!(after.settings.domains[0].shape, plan.settings.domains[0].shape);
    assert_eq!(after.settings.domains[0].instances, plan.settings.domains[0].instances);
}

#[test]
fn static_things_change_in_place_and_one_that_is_virtual_on_the_other_side_takes_a_new_worker() {
    let a = instance("A", "eth0", 1, "192.0.2.1/24", "");
    let with = |address: &str| {
        let statics = format!("static_ipaddress {{\n {address} dev eth0\n}}\n");
        config(&format!("{a}{statics}static_routes {{\n 198.51.100.0/24 via 192.0.2.9\n}}\n"))
    };
    let plan = Plan::new(&config(&a));
    let after = plan.after(&with("192.0.2.7/24")).unwrap();
    assert_eq!((after.statics_in_kernel().len(), after.paths[&Owner::Agent].len()), (1, 1));
    assert_eq!(after.settings.domains, plan.settings.domains, "the core has no part in it");
    // The kernel is not to take the virtual one along with the static one.
    let promotes =
        |plan: &Plan| plan.settings_of_kernel.iter().any(|set| set.name.ends_with("eth0/promote_secondaries"));
    assert_eq!([promotes(&plan), promotes(&after)], [false, true]);
    let back = after.after(&config(&a)).unwrap();
    assert!(back.statics_in_kernel().is_empty() && !back.paths.contains_key(&Owner::Agent));

    let other = instance("A", "eth0", 1, "192.0.2.7/24", "");
    let words = after.after(&config(&other)).unwrap_err();
    assert!(words.starts_with("192.0.2.7 has been static"), "{words}");
    let words = Plan::new(&config(&other)).after(&with("192.0.2.7/24")).unwrap_err();
    assert!(words.starts_with("192.0.2.7 has been of a virtual router"), "{words}");
}

#[test]
fn what_a_router_that_is_leaving_speaks_from_stays_with_its_interface() {
    let a = instance("A", "eth0", 1, "192.0.2.1", "");
    let b = instance("B", "eth0", 2, "192.0.2.2", "use_ipvlan lan9 192.0.2.12");
    let plan = Plan::new(&config(&format!("{a}{b}")));
    let statics =
        |plan: &Plan| plan.statics_in_kernel().iter().map(|(one, _)| one.address.to_string()).collect::<Vec<_>>();
    assert_eq!(statics(&plan), ["192.0.2.12"]);
    let mut after = plan.after(&config(&a)).unwrap();
    assert_eq!(statics(&after), ["192.0.2.12"]);
    after.retire(id("B"));
    assert!(statics(&after).is_empty() && after.links_in_kernel().is_empty());
    // It goes on, and speaks from another address.
    let other = config(&format!("{a}{}", b.replace("192.0.2.12", "192.0.2.13")));
    assert_eq!(statics(&plan.after(&other).unwrap()), ["192.0.2.13"]);
}

fn group(name: &str, members: &[&str]) -> String {
    format!("vrrp_sync_group {name} {{\n group {{\n {}\n }}\n}}\n", members.join("\n "))
}

#[test]
fn a_group_that_keeps_a_router_goes_on_and_the_others_part_once_the_core_has_said_its_last_word() {
    let [a, b, c] =
        [("A", 1), ("B", 2), ("C", 3)].map(|(name, vrid)| instance(name, "eth0", vrid, &format!("192.0.2.{vrid}"), ""));
    let plan = Plan::new(&config(&format!("{a}{b}{}", group("G", &["A", "B"]))));
    let mut after = plan.after(&config(&format!("{a}{c}{}", group("G", &["A", "C"])))).unwrap();
    assert_eq!((instances(&after, "G"), after.leaving.is_empty()), (vec![0, 2], true));
    assert_eq!(plan.gone_in(&after)[0].address.to_string(), "192.0.2.2");
    assert!(after.transports[1].is_some() && after.part() && after.transports[1].is_none() && !after.part());
    // None of them is left: another group of the same name.
    let other = plan.after(&config(&format!("{c}{}", group("G", &["C"])))).unwrap();
    assert!(other.leaving.contains_key(&id("G")));
    // Out of the group, and under a lease of its own.
    let alone = plan.after(&config(&format!("{a}{b}{}", group("G", &["A"])))).unwrap_err();
    assert!(alone.starts_with("192.0.2.2 moves from G to B"), "{alone}");
}

#[test]
fn an_interface_of_a_router_that_is_leaving_and_its_routes_stay_until_it_is_gone() {
    let a = instance("A", "eth0", 1, "192.0.2.1", "");
    let more = "use_vmac\n virtual_routes {\n 198.51.100.0/24 via 192.0.2.9\n }";
    let both = config(&format!("{a}{}", instance("B", "eth0", 2, "192.0.2.2", more)));
    let plan = Plan::new(&both);
    let mut after = plan.after(&config(&a)).unwrap();
    let names = |plan: &Plan| plan.links_in_kernel().into_iter().map(|link| link.name).collect::<Vec<_>>();
    let owner = Owner::Domain(id("B"));
    assert_eq!((names(&after), after.paths[&owner].len()), (vec!["vrrp.2".to_owned()], 1));
    after.retire(id("B"));
    assert!(names(&after).is_empty() && !after.paths.contains_key(&owner));
    // The same name for another interface.
    let named = |vrid, address| instance("B", "eth0", vrid, address, "use_vmac lan9");
    let plan = Plan::new(&config(&named(2, "192.0.2.2")));
    let words = plan.after(&config(&named(3, "192.0.2.3"))).unwrap_err();
    assert!(words.contains("lan9 is to be another one"), "{words}");
}

#[test]
fn there_is_a_way_to_two_accepted_masters_and_none_back() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/tests/fixtures/cluster.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let under = |policy: &str| {
        let text = text.replacen("[arbiter]\n", &format!("[arbiter]\npolicy = \"{policy}\"\n"), 1);
        keepone_config::load_text(Path::new("t.toml"), &text, &Environment::default()).unwrap().0
    };
    let [strict, degrade, accept] = ["strict", "degrade", "i-accept-dual-master"].map(under);
    let after = Plan::new(&strict).after(&degrade).unwrap().after(&strict).unwrap().after(&accept).unwrap();
    assert_eq!(after.settings.domains[0].policy, Policy::AcceptDualMaster);
    assert!(after.after(&degrade).unwrap_err().contains("nobody's leave"));
}
