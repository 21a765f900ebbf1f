//! What becomes of a domain while its arbiter is silent (D4), and which gateway a Master is tested from (D9).

use keepone_proto::settings::{Authority, Policy};

use crate::model::Mirror;
use crate::source::{At, Place};

use super::Check;

impl Check<'_> {
    pub(super) fn policies(&mut self, authority: Option<&Authority>) {
        let raw = self.raw;
        let general = raw.arbiter.as_ref().and_then(|arbiter| arbiter.policy.as_ref());
        let of_groups = raw.groups.iter().filter_map(|group| group.policy.as_ref());
        let of_instances = raw.instances.iter().filter_map(|instance| instance.policy.as_ref());
        let all: Vec<&At<Policy>> = general.into_iter().chain(of_groups).chain(of_instances).collect();
        for policy in all {
            if authority == Some(&Authority::None) {
                let message =
                    format!("policy `{}` without an arbiter: there is none to be silent", policy.value.as_str());
                self.report.error(&policy.place, message, "add `arbiter { type quorum }`, or remove the policy");
            } else {
                self.accepted(policy);
            }
        }
        for instance in &raw.instances {
            let name = &instance.name.value;
            let group = self.groups_of.get(name.as_str()).and_then(|groups| groups.first());
            if let (Some(policy), Some(group)) = (&instance.policy, group) {
                let message = format!("`{name}` moves with sync group `{}`, whose policy counts", group.name.value);
                self.report.error(&policy.place, message, "move `arbiter_policy` into the sync group");
            }
        }
    }

    fn accepted(&mut self, policy: &At<Policy>) {
        match policy.value {
            Policy::Strict | Policy::Degrade => {}
            Policy::AcceptDualMaster => {
                let message = "`i-accept-dual-master`: while the arbiter is silent, two nodes may hold the VIP";
                let help = "write `strict`, or `degrade` to hold on while all other nodes promise not to claim";
                self.report.warning(&policy.place, message, help);
            }
        }
    }

    pub(super) fn mirrors(&mut self) {
        let raw = self.raw;
        for instance in &raw.instances {
            let Some(At { value: Mirror::Gateway(gateway), place }) = &instance.mirror else { continue };
            let vips = || instance.addresses.iter().chain(&instance.excluded).map(|vip| vip.value.address);
            let all = raw.instances.iter().flat_map(|other| other.addresses.iter().chain(&other.excluded));
            if all.map(|vip| vip.value.address).any(|vip| vip == *gateway) {
                self.no_mirror(place, format!("mirror {gateway} is a virtual address of this file"));
            } else if !vips().any(|vip| vip.is_ipv6() == gateway.is_ipv6()) {
                let name = &instance.name.value;
                self.no_mirror(place, format!("mirror {gateway}: `{name}` has no virtual address of its family"));
            }
        }
    }

    fn no_mirror(&mut self, place: &Place, message: String) {
        let help = "name a gateway outside the cluster on the network of the virtual addresses, or `off`";
        self.report.error(place, message, help);
    }
}
