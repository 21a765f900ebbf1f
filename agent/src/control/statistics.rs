//! What the counters of a virtual router are called: by keepalived in its dumps, and by us in metrics.

use keepone_proto::vrrp::statistics::Statistics;
use serde_json::{Map, Value};

/// A counter.
pub(super) struct Counter {
    /// In keepalived's `stats`; `None`: it has none of the kind.
    pub(super) keepalived: Option<&'static str>,
    /// In metrics.
    pub(super) metric: &'static str,
    /// What it counts; of an error, the family says it.
    pub(super) help: &'static str,
    /// Where it is.
    pub(super) of: fn(&Statistics) -> u64,
}

const fn counter(
    keepalived: &'static str,
    metric: &'static str,
    help: &'static str,
    of: fn(&Statistics) -> u64,
) -> Counter {
    Counter { keepalived: Some(keepalived), metric, help, of }
}

const fn error(keepalived: Option<&'static str>, metric: &'static str, of: fn(&Statistics) -> u64) -> Counter {
    Counter { keepalived, metric, help: "", of }
}

/// What is no error.
pub(super) const COUNTERS: [Counter; 6] = [
    counter("advert_rcvd", "advertisements_received", "Advertisements that were taken.", |of| of.received),
    counter("advert_sent", "advertisements_sent", "Advertisements that were sent.", |of| of.sent),
    counter("become_master", "became_master", "Times that it became Master.", |of| of.became_master),
    counter("release_master", "released_master", "Times that it was Master no more.", |of| of.released_master),
    counter(
        "pri_zero_rcvd",
        "zero_priority_received",
        "Advertisements of priority 0 that were taken: a Master resigned.",
        |of| of.zero_received,
    ),
    counter("pri_zero_sent", "zero_priority_sent", "Advertisements of priority 0 that were sent: we resigned.", |of| {
        of.zero_sent
    }),
];

/// What is one, by its label in metrics.
pub(super) const ERRORS: [Counter; 10] = [
    error(Some("packet_len_err"), "length", |of| of.length_errors),
    error(Some("advert_interval_err"), "interval", |of| of.interval_errors),
    error(Some("ip_ttl_err"), "ttl", |of| of.ttl_errors),
    error(Some("invalid_type_rcvd"), "type", |of| of.type_errors),
    error(Some("addr_list_err"), "address_list", |of| of.address_list_errors),
    error(Some("invalid_authtype"), "unknown_auth_type", |of| of.unknown_auth_types),
    error(Some("authtype_mismatch"), "auth_type_mismatch", |of| of.auth_type_mismatches),
    error(Some("auth_failure"), "auth_failure", |of| of.auth_failures),
    error(None, "checksum", |of| of.checksum_errors),
    error(None, "version", |of| of.version_errors),
];

/// By keepalived's names; what it does not count, by ours.
pub(super) fn json(statistics: &Statistics) -> Value {
    let name = |counter: &Counter| counter.keepalived.map_or_else(|| format!("{}_err", counter.metric), str::to_owned);
    let all = COUNTERS.iter().chain(&ERRORS);
    Value::Object(all.map(|counter| (name(counter), (counter.of)(statistics).into())).collect::<Map<_, _>>())
}
