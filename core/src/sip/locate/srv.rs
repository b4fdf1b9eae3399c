//! SRV: which host comes first (RFC 2782): lower priorities before higher, and within one a lot drawn by weight.

use super::dns::Srv;
use crate::vocab::Entropy;

/// What the SRV records of one service say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// In the order in which to try them.
    InOrder(Vec<Srv>),
    /// A target of `.`: decidedly not available here.
    Refused,
}

/// Puts the records in order. Records that cannot be used (port 0) are left out.
pub(super) fn order(records: Vec<Srv>, entropy: &mut Entropy) -> Hosts {
    let is_root = |record: &Srv| record.target.trim_end_matches('.').is_empty();
    let had = !records.is_empty();
    let mut left: Vec<Srv> = records
        .into_iter()
        .filter(|record| !is_root(record))
        .collect();
    if had && left.is_empty() {
        return Hosts::Refused;
    }
    left.retain(|record| record.port != 0);
    left.sort_by_key(|record| record.priority);
    let groups = left.chunk_by(|a, b| a.priority == b.priority);
    Hosts::InOrder(
        groups
            .flat_map(|group| draw(group.to_vec(), entropy))
            .collect(),
    )
}

/// Draws the records of one priority one after the other, each with the chance its weight gives it. Those of weight 0
/// stand first in the list, so that they are drawn when the lot is 0: a very small chance beside others, and an even
/// one among themselves.
fn draw(mut left: Vec<Srv>, entropy: &mut Entropy) -> Vec<Srv> {
    if left.iter().all(|record| record.weight == 0) {
        shuffle(&mut left, entropy);
        return left;
    }
    let mut drawn = Vec::with_capacity(left.len());
    left.sort_by_key(|record| record.weight != 0);
    while !left.is_empty() {
        let sum: u64 = left.iter().map(|record| u64::from(record.weight)).sum();
        let lot = entropy.below(sum + 1);
        let mut running = 0;
        let reached = |record: &Srv| {
            running += u64::from(record.weight);
            running >= lot
        };
        let at = left.iter().position(reached).unwrap_or_default();
        drawn.push(left.remove(at));
    }
    drawn
}

/// The RFC's algorithm would always take the first of several records without weight.
fn shuffle(records: &mut [Srv], entropy: &mut Entropy) {
    for last in (1..records.len()).rev() {
        let other = entropy.below(last as u64 + 1);
        records.swap(last, usize::try_from(other).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight,
            port: 5060,
            target: target.into(),
        }
    }

    fn drawn(records: &[Srv], entropy: &mut Entropy) -> Vec<String> {
        match order(records.to_vec(), entropy) {
            Hosts::InOrder(hosts) => hosts.into_iter().map(|srv| srv.target).collect(),
            Hosts::Refused => Vec::new(),
        }
    }

    fn firsts(records: &[Srv], times: u32) -> BTreeMap<String, u32> {
        let mut entropy = Entropy::from_number(3263);
        let mut firsts = BTreeMap::new();
        for _ in 0..times {
            *firsts
                .entry(drawn(records, &mut entropy).remove(0))
                .or_default() += 1;
        }
        firsts
    }

    #[test]
    fn lower_priorities_come_first_whatever_their_weight() {
        let records = [srv(20, 60_000, "c"), srv(10, 0, "a"), srv(15, 1, "b")];
        let mut entropy = Entropy::from_number(1);
        for _ in 0..100 {
            assert_eq!(drawn(&records, &mut entropy), ["a", "b", "c"]);
        }
    }

    #[test]
    fn weights_are_shares_of_the_first_place() {
        let firsts = firsts(&[srv(1, 60, "a"), srv(1, 30, "b"), srv(1, 10, "c")], 10_000);
        for (name, share) in [("a", 6_000), ("b", 3_000), ("c", 1_000)] {
            // Five standard deviations of a share of 0.6 in 10,000 draws are 245.
            assert!(firsts[name].abs_diff(share) < 300, "{name}: {firsts:?}");
        }
    }

    #[test]
    fn a_weight_of_zero_has_a_very_small_chance_beside_others_and_an_even_one_among_zeros() {
        let beside = firsts(&[srv(1, 100, "a"), srv(1, 0, "zero")], 10_000);
        let zero = beside.get("zero").copied().unwrap_or_default();
        assert!((20..300).contains(&zero), "about one in a hundred: {zero}");
        let among = firsts(&[srv(1, 0, "a"), srv(1, 0, "b")], 10_000);
        assert!(among["a"].abs_diff(5_000) < 300, "{among:?}");
    }

    #[test]
    fn every_record_has_its_turn_exactly_once() {
        let records: Vec<Srv> = (0..40).map(|n| srv(n % 3, n, &format!("h{n}"))).collect();
        let mut names = drawn(&records, &mut Entropy::from_number(9));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 40);
    }

    #[test]
    fn a_root_target_refuses_unless_another_record_offers_the_service() {
        let mut entropy = Entropy::from_number(1);
        for root in [".", ""] {
            assert_eq!(order(vec![srv(0, 0, root)], &mut entropy), Hosts::Refused);
        }
        assert_eq!(
            drawn(&[srv(0, 0, "."), srv(1, 0, "a")], &mut entropy),
            ["a"]
        );
        assert_eq!(order(Vec::new(), &mut entropy), Hosts::InOrder(Vec::new()));
    }

    #[test]
    fn a_record_without_port_is_no_place_to_send_to() {
        let mut none = srv(0, 0, "a");
        none.port = 0;
        assert_eq!(
            order(vec![none], &mut Entropy::from_number(1)),
            Hosts::InOrder(Vec::new())
        );
    }
}
