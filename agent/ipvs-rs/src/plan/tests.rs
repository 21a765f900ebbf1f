//! A plan, applied to the one table, gives the other, and nothing that hangs on it is cut on the way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::testing::table;

/// How many services and destinations are not equal in both.
fn differences(wanted: &Table, kernel: &Table) -> usize {
    let mut count = kernel.ids().filter(|id| wanted.get(*id).is_none()).count();
    for entry in wanted.entries() {
        let known = kernel.get(entry.service.id);
        count += usize::from(known.is_none_or(|known| known.service != entry.service));
        let of = |table: Option<&crate::Entry>| table.map(|entry| entry.destinations.clone()).unwrap_or_default();
        let (is, is_wanted) = (of(known), &entry.destinations);
        let all: BTreeSet<_> = is.keys().chain(is_wanted.keys()).collect();
        count += all.into_iter().filter(|address| is.get(address) != is_wanted.get(address)).count();
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_plan_leads_from_one_table_to_the_other(wanted in table(), kernel in table()) {
        let mut table = kernel.clone();
        for change in plan(&wanted, &kernel) {
            prop_assert!(table.apply(&change), "the kernel would refuse {:?}", change);
        }
        prop_assert_eq!(table, wanted);
    }

    #[test]
    fn no_plan_is_longer_than_what_differs(wanted in table(), kernel in table()) {
        prop_assert_eq!(plan(&wanted, &kernel).len(), differences(&wanted, &kernel));
        prop_assert_eq!(plan(&wanted, &wanted), vec![]);
    }

    #[test]
    fn what_is_wanted_is_never_deleted(wanted in table(), kernel in table()) {
        let mut table = kernel.clone();
        for change in plan(&wanted, &kernel) {
            match &change {
                Change::DeleteService(id) => prop_assert!(wanted.get(*id).is_none()),
                Change::DeleteDestination(id, address) => {
                    let entry = wanted.get(*id).unwrap();
                    prop_assert!(!entry.destinations.contains_key(address));
                }
                _ => {}
            }
            table.apply(&change);
            for entry in kernel.entries().filter(|entry| !entry.destinations.is_empty()) {
                let serves = |table: &Table| table.get(entry.service.id).map(|entry| entry.destinations.len());
                let is_to_serve = serves(&wanted).is_some_and(|count| count > 0);
                prop_assert!(!is_to_serve || serves(&table) > Some(0), "{:?} leaves nobody", change);
            }
        }
    }
}

#[test]
fn another_scheduler_is_an_edit() {
    let id = ServiceId::Mark { mark: 1, family: crate::Family::Ipv4 };
    let destinations = || [Destination::new("10.0.0.1:80".parse().unwrap())];
    let with = |scheduler: &str| Table::from_iter([crate::Entry::new(Service::new(id, scheduler), destinations())]);
    assert_eq!(plan(&with("mh"), &with("wlc")), [Change::EditService(Service::new(id, "mh"))]);
}

#[test]
fn what_is_not_ours_is_left_out_and_stays() {
    let service = |mark| Service::new(ServiceId::Mark { mark, family: crate::Family::Ipv4 }, "rr");
    let of = |marks: &[u32]| marks.iter().map(|mark| crate::Entry::new(service(*mark), [])).collect::<Table>();
    let (wanted, mut kernel) = (of(&[1]), of(&[1, 2, 3]));
    kernel.retain(|id| id != service(3).id);
    assert_eq!(plan(&wanted, &kernel), [Change::DeleteService(service(2).id)]);
}
