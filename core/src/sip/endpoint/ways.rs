//! By which ways a request may go, best first.

use std::collections::VecDeque;

use super::event::Flow;

/// The way a request goes, and the others for when that one fails (RFC 3263 §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    now: Flow,
    then: VecDeque<Flow>,
}

impl Ways {
    /// This way only.
    pub const fn only(flow: Flow) -> Self {
        Self {
            now: flow,
            then: VecDeque::new(),
        }
    }

    /// This way, then these.
    #[must_use]
    pub fn then(mut self, others: impl IntoIterator<Item = Flow>) -> Self {
        self.then.extend(others);
        self
    }

    /// The way taken now.
    pub const fn flow(&self) -> Flow {
        self.now
    }

    /// Whether another server can be asked when this one is silent. The same one by another transport is none: it has had
    /// the request.
    pub fn has_other_servers(&self) -> bool {
        self.then.iter().any(|way| way.remote != self.now.remote)
    }

    /// The same ways, those for which `is_bad` holds behind the others (RFC 3263 §4.3).
    #[must_use]
    pub fn put_last(self, is_bad: impl Fn(&Flow) -> bool) -> Self {
        if self.then.is_empty() {
            return self;
        }
        let first = self.now;
        let (bad, mut all): (VecDeque<_>, VecDeque<_>) = self.into_iter().partition(is_bad);
        all.extend(bad);
        Self {
            now: all.pop_front().unwrap_or(first),
            then: all,
        }
    }

    /// These, in this order; `None` when there are none.
    pub fn of(ways: impl IntoIterator<Item = Flow>) -> Option<Self> {
        let mut ways = ways.into_iter();
        Some(Self::only(ways.next()?).then(ways))
    }

    /// Gives the way taken now up.
    ///
    /// * returns `false`, and changes nothing, when it was the last one.
    pub fn advance(&mut self) -> bool {
        match self.then.pop_front() {
            Some(next) => {
                self.now = next;
                true
            }
            None => false,
        }
    }
}

impl IntoIterator for Ways {
    type Item = Flow;
    type IntoIter =
        std::iter::Chain<std::iter::Once<Flow>, std::collections::vec_deque::IntoIter<Flow>>;

    /// The ways left, the one taken now first.
    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.now).chain(self.then)
    }
}

impl From<Flow> for Ways {
    fn from(flow: Flow) -> Self {
        Self::only(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::endpoint::Transport;

    fn flow(port: u16) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: ([192, 0, 2, 1], 5060).into(),
            remote: ([192, 0, 2, 2], port).into(),
        }
    }

    #[test]
    fn ways_are_taken_in_order_and_the_last_one_is_kept() {
        let mut ways = Ways::only(flow(1)).then([flow(2), flow(3)]);
        assert_eq!(ways.flow(), flow(1));
        assert!(ways.advance());
        assert!(ways.advance());
        assert_eq!(ways.flow(), flow(3));
        assert!(!ways.advance());
        assert_eq!(ways.flow(), flow(3));
    }

    #[test]
    fn bad_ways_come_last_and_both_keep_their_order() {
        let ways = Ways::of([flow(1), flow(2), flow(3), flow(4)]).unwrap();
        let odd = |flow: &Flow| flow.remote.port() % 2 == 1;
        let ports = |ways: Ways| {
            ways.into_iter()
                .map(|flow| flow.remote.port())
                .collect::<Vec<_>>()
        };
        assert_eq!(ports(ways.clone().put_last(odd)), [2, 4, 1, 3]);
        assert_eq!(ports(ways.put_last(|_| true)), [1, 2, 3, 4]);
        assert_eq!(ports(Ways::only(flow(1)).put_last(|_| true)), [1]);
        assert_eq!(Ways::of([]), None);
    }
}
