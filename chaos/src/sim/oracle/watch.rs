//! One domain's gates over time, as the kernels would let frames pass.

use std::collections::BTreeMap;

use keepone_proto::id::Epoch;

/// One domain over the whole cluster.
#[derive(Debug, Clone)]
pub struct DomainWatch {
    /// Until when each host's gate is, or was, open.
    pub(super) until: Vec<u64>,
    /// Since when.
    pub(super) since: Vec<u64>,
    /// Pairs of real time during which each host's gate was open.
    pub spans: Vec<Vec<(u64, u64)>>,
    pub(super) highest: Option<Epoch>,
    pub(super) used: BTreeMap<Epoch, (usize, u32)>,
    pub(super) counted_to: u64,
    /// Two gates open at once, in nanoseconds.
    pub dual: u64,
    /// No gate open.
    pub none: u64,
    /// When some gate was last open, or is until.
    pub(super) covered_until: u64,
    /// The longest time without an open gate since [`DomainWatch::mark`].
    pub longest_none: u64,
    /// Openings since the mark.
    pub openings: u32,
    /// When the first gate was open at or after the mark.
    pub first_open: Option<u64>,
    /// Since when two gates have been open at once.
    pub(super) dual_since: Option<u64>,
    /// Until when two last were.
    dual_until: Option<u64>,
    /// Times with two gates open that have ended and were not looked at yet.
    pub(super) dual_ended: Vec<(u64, u64)>,
    pub(super) mark: u64,
    /// The longest time with two gates open.
    worst: u64,
    /// Until when each host's last frame that named the VIP may be on the wire.
    pub(super) wire: Vec<u64>,
}

impl DomainWatch {
    /// Nothing was ever open.
    pub(super) fn new(agents: usize) -> Self {
        DomainWatch {
            until: vec![0; agents],
            since: vec![0; agents],
            spans: vec![Vec::new(); agents],
            highest: None,
            used: BTreeMap::new(),
            counted_to: 0,
            dual: 0,
            none: 0,
            covered_until: 0,
            longest_none: 0,
            openings: 0,
            first_open: None,
            dual_since: None,
            dual_until: None,
            dual_ended: Vec::new(),
            mark: u64::MAX,
            worst: 0,
            wire: vec![0; agents],
        }
    }

    fn ended(&mut self, since: u64, until: u64) {
        self.worst = self.worst.max(until.saturating_sub(since));
        self.dual_until = Some(until);
        self.dual_ended.push((since, until));
    }

    /// The longest time with two gates open, up to `now`.
    pub fn worst(&self, now: u64) -> u64 {
        self.dual_since.map_or(self.worst, |since| self.worst.max(now.saturating_sub(since)))
    }

    /// When two gates were last open, up to `now`.
    pub(super) fn last_two(&self, now: u64) -> Option<u64> {
        self.dual_since.map(|_| now).or(self.dual_until)
    }

    pub(super) fn advance(&mut self, now: u64) {
        if now <= self.counted_to {
            return;
        }
        let from = self.counted_to;
        self.counted_to = now;
        let (mut largest, mut second) = (0, 0);
        for until in &self.until {
            if *until > largest {
                (second, largest) = (largest, *until);
            } else if *until > second {
                second = *until;
            }
        }
        let dual_end = second.min(now);
        self.dual += dual_end.saturating_sub(from);
        if second > from {
            self.dual_since = self.dual_since.or(Some(from));
        }
        if second <= now
            && let Some(since) = self.dual_since.take()
        {
            self.ended(since, dual_end.max(since));
        }
        let covered = largest.min(now).max(from);
        if largest > from {
            self.covered_until = covered;
        }
        self.none += now - covered;
        if now > self.mark {
            self.longest_none = self.longest_none.max(now - self.covered_until.max(self.mark));
        }
    }

    pub(super) fn opened(&mut self, now: u64, host: usize, until: u64, was_open: bool) {
        if let (Some(open_until), Some(since)) = (self.until.get_mut(host), self.since.get_mut(host)) {
            if !was_open {
                if *open_until > 0
                    && let Some(spans) = self.spans.get_mut(host)
                {
                    spans.push((*since, *open_until));
                }
                *since = now;
                self.openings += u32::from(now >= self.mark);
            }
            *open_until = until;
        }
        if now >= self.mark {
            self.first_open = self.first_open.or(Some(now));
        }
        if self.until.iter().filter(|until| **until > now).count() > 1 {
            self.dual_since = self.dual_since.or(Some(now));
        }
    }

    pub(super) fn shut(&mut self, now: u64, host: usize) {
        if let Some(until) = self.until.get_mut(host)
            && *until > now
        {
            *until = now;
        }
        if self.until.iter().filter(|until| **until > now).count() < 2
            && let Some(since) = self.dual_since.take()
        {
            self.ended(since, now);
        }
    }

    /// All spans up to `now`, by host.
    pub fn all_spans(&self, now: u64) -> Vec<Vec<(u64, u64)>> {
        let mut spans = self.spans.clone();
        for (host, spans) in spans.iter_mut().enumerate() {
            if let (Some(since), Some(until)) = (self.since.get(host), self.until.get(host))
                && *until > 0
            {
                spans.push((*since, (*until).min(now)));
            }
        }
        spans
    }
}
