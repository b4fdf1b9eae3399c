//! Calls that we answered and whose ACK has not come, by source address.
//!
//! An answered call is the dearest thing a stranger can make us keep: a port, an agent, 32 seconds of audio sent to
//! wherever its SDP says. A telephone acknowledges within a round trip. Who never does is cut off at a few.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// How many each source has. As many entries as unacknowledged calls at most.
#[derive(Debug, Default)]
pub(super) struct HalfOpen(BTreeMap<IpAddr, usize>);

impl HalfOpen {
    /// How many this source has.
    pub(super) fn of(&self, source: IpAddr) -> usize {
        self.0.get(&source).copied().unwrap_or_default()
    }

    /// A dialog was half open to `before` and is to `after`.
    pub(super) fn moved(&mut self, before: Option<IpAddr>, after: Option<IpAddr>) {
        if before == after {
            return;
        }
        if let Some(source) = before
            && let Some(count) = self.0.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&source);
            }
        }
        if let Some(source) = after {
            *self.0.entry(source).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_count_and_none_when_all_are_acknowledged() {
        let mut half_open = HalfOpen::default();
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        half_open.moved(None, Some(one));
        half_open.moved(None, Some(one));
        half_open.moved(None, Some(two));
        half_open.moved(Some(one), Some(one));
        assert_eq!((half_open.of(one), half_open.of(two)), (2, 1));
        half_open.moved(Some(one), None);
        half_open.moved(Some(one), None);
        half_open.moved(Some(one), None);
        assert_eq!((half_open.of(one), half_open.of(two)), (0, 1));
        half_open.moved(Some(two), None);
        assert!(half_open.0.is_empty());
    }
}
