//! A call's ladder as a drawing: one lane per party, one arrow per step.

use maud::{Markup, html};

use crate::bridge::registry::CallView;

/// Lanes from left to right; a party that is not here stands at the right end.
const ORDER: [&str; 7] = [
    "target", "webhook", "trunk", "baton", "agent", "store", "operator",
];
/// Lanes the style sheet can draw.
const LANES_MAX: usize = 8;

/// The drawing. Positions are classes, for the policy allows no inline style.
pub(super) fn render(call: &CallView) -> Markup {
    let lanes = lanes(call);
    let place = |name: &str| lanes.iter().position(|lane| *lane == name);
    html! {
        div.ladder.(format!("lanes-{}", lanes.len())) {
            div.row.heads {
                @for (at, lane) in lanes.iter().enumerate() {
                    span.(format!("head-{at}")) dir="auto" { (lane) }
                }
            }
            @for step in &call.ladder {
                div.row {
                    span.at { (format!("{}.{:03}", step.at_ms / 1000, step.at_ms % 1000)) }
                    @for at in 0..lanes.len() { i.(format!("lane-{at}")) {} }
                    @match (place(&step.from), place(&step.to)) {
                        (Some(from), Some(to)) if from != to => {
                            span.arrow.(if from < to { "right" } else { "left" })
                                .(format!("from-{}", from.min(to))).(format!("to-{}", from.max(to))) { span dir="auto" { (step.what) } }
                        }
                        _ => span.event dir="auto" { (step.what) },
                    }
                }
            }
            @if call.ladder_left_out > 0 {
                p.quiet { (call.ladder_left_out) " steps in the middle are left out." }
            }
        }
    }
}

/// Who takes part, left to right.
fn lanes(call: &CallView) -> Vec<&str> {
    let mut lanes: Vec<&str> = Vec::new();
    for name in call.ladder.iter().flat_map(|step| [&step.from, &step.to]) {
        if !lanes.contains(&name.as_str()) && lanes.len() < LANES_MAX {
            lanes.push(name);
        }
    }
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    lanes.sort_by_key(|name| place(name).unwrap_or(ORDER.len()));
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::registry::LadderStep;
    use baton_core::history::UnixMillis;
    use baton_core::vocab::{CallId, Entropy, HandoffKey};

    fn call(steps: &[(&str, &str)]) -> CallView {
        let key = HandoffKey::generate(&mut Entropy::from_number(1));
        let mut call = CallView::new(CallId::from("call-1"), key, UnixMillis(0));
        for (from, to) in steps {
            call.push_step(LadderStep {
                at_ms: 1234,
                from: (*from).into(),
                to: (*to).into(),
                what: "<INVITE>".into(),
            });
        }
        call
    }

    #[test]
    fn lanes_stand_in_the_same_order_in_every_call() {
        let call = call(&[("trunk", "baton"), ("baton", "agent"), ("webhook", "baton")]);
        assert_eq!(lanes(&call), ["webhook", "trunk", "baton", "agent"]);
        let drawn = render(&call).into_string();
        assert!(
            drawn.contains(r#"class="arrow right from-1 to-2""#),
            "{drawn}"
        );
        assert!(drawn.contains("&lt;INVITE&gt;") && drawn.contains("1.234"));
    }

    #[test]
    fn a_crowd_is_cut_to_what_can_be_drawn() {
        let names: Vec<String> = (0..20).map(|n| format!("party-{n}")).collect();
        let steps: Vec<_> = names.iter().map(|name| (name.as_str(), "baton")).collect();
        let call = call(&steps);
        assert_eq!(lanes(&call).len(), LANES_MAX);
        assert!(render(&call).into_string().contains(r#"class="event""#));
    }
}
