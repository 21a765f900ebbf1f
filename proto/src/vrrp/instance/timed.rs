//! The Adver_Timer of a Master.

use super::{Instance, State};
use crate::time::Instant;
use crate::wire::vrrp::Advertisement;

impl Instance {
    /// Whether all that [`Instance::on_timer`] may have to say at `now` is an Advertisement.
    pub(crate) fn may_just_advertise(&self, now: Instant) -> bool {
        match self.state {
            State::Master { advert_at, .. } => now < advert_at || !self.params.is_overtaken(now.since(advert_at)),
            State::Initialize | State::Backup { .. } => false,
        }
    }

    /// The Advertisement of a Master that is due at `now`; the Adver_Timer is set anew.
    pub(crate) fn due_advertisement(&mut self, now: Instant) -> Option<Advertisement> {
        let anew = self.next_advert(now);
        let State::Master { advert_at, .. } = &mut self.state else { return None };
        if now < *advert_at {
            return None;
        }
        // From the due time, so that a driver's lateness does not add up; but who has slept
        // over whole intervals does not send them all at once.
        let on_grid = *advert_at + self.params.advert_int;
        *advert_at = if on_grid > now { on_grid } else { anew };
        let advertisement = self.advertisement();
        self.count(&advertisement);
        Some(advertisement)
    }
}
