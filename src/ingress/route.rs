//! Which agent answers a call, and where it is handed over: the first `[[route]]` that matches.

use std::collections::BTreeMap;

use baton_core::sip::endpoint::Invited;
use wildmatch::WildMatch;

use crate::config::{Agent, Config, Handoff, Route};

/// What a route settles for one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The route's name; `"default"` when none is configured.
    pub route: String,
    /// Who answers.
    pub agent: Agent,
    /// Where humans are.
    pub handoff: Handoff,
    /// Given to the agent.
    pub variables: BTreeMap<String, String>,
}

/// The first route that matches; `None` when there are routes and none does (the call is answered 404).
pub fn choose(config: &Config, invited: &Invited) -> Option<Choice> {
    let route = match config.routes.as_slice() {
        [] => &Route {
            name: "default".into(),
            ..Route::default()
        },
        routes => routes.iter().find(|route| matches(route, invited))?,
    };
    let agent = named(&config.agents, route.agent.as_deref(), |agent| &agent.name);
    let handoff = named(&config.handoffs, route.handoff.as_deref(), |handoff| {
        &handoff.name
    });
    Some(Choice {
        route: route.name.clone(),
        agent: agent.unwrap_or_else(|| Agent {
            name: "scripted".into(),
            ..Agent::default()
        }),
        handoff: handoff.unwrap_or_default(),
        variables: route.variables.clone(),
    })
}

/// The one of that name, or the first when none is asked for.
fn named<T: Clone>(all: &[T], name: Option<&str>, name_of: impl Fn(&T) -> &str) -> Option<T> {
    match name {
        Some(name) => all.iter().find(|one| name_of(one) == name).cloned(),
        None => all.first().cloned(),
    }
}

fn matches(route: &Route, invited: &Invited) -> bool {
    let glob = |pattern: &Option<String>, text: &str| {
        pattern
            .as_ref()
            .is_none_or(|pattern| WildMatch::new(pattern).matches(text))
    };
    glob(&route.to, &invited.called)
        && glob(&route.from, &invited.caller)
        && route
            .trunk
            .as_ref()
            .is_none_or(|trunk| *trunk == invited.trunk)
        && route.header.iter().all(|(name, pattern)| {
            invited
                .header(name)
                .is_some_and(|value| WildMatch::new(pattern).matches(value))
        })
}

#[cfg(test)]
mod tests {
    use baton_core::sip::endpoint::{DialogId, Flow, Transport};

    use super::*;
    use crate::config::from_str;

    fn invited(called: &str, caller: &str, headers: &[(&str, &str)]) -> Invited {
        let address = ([127, 0, 0, 1], 5060).into();
        Invited {
            dialog: DialogId(1),
            flow: Flow {
                transport: Transport::Udp,
                local: address,
                remote: address,
            },
            trunk: "carrier".into(),
            call_id: "c@h".into(),
            request_uri: format!("sip:{called}@h"),
            called: called.into(),
            caller: caller.into(),
            caller_name: None,
            headers: headers
                .iter()
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect(),
            allows_refer: true,
            offer: bytes::Bytes::new(),
        }
    }

    fn config(text: &str) -> Config {
        from_str(text, std::path::Path::new(".")).unwrap()
    }

    #[test]
    fn without_routes_the_first_agent_answers_or_the_scripted_one() {
        let call = invited("100", "200", &[]);
        let choice = choose(&config(""), &call).unwrap();
        assert_eq!(
            (choice.route.as_str(), choice.agent.name.as_str()),
            ("default", "scripted")
        );
        let choice = choose(
            &config("[[agent]]\nname=\"a\"\n[[agent]]\nname=\"b\""),
            &call,
        )
        .unwrap();
        assert_eq!(choice.agent.name, "a");
    }

    #[test]
    fn the_first_route_that_matches_wins() {
        let config = config(
            r#"
            [[agent]]
            name = "first"
            [[agent]]
            name = "sales"
            [[route]]
            name = "german sales"
            to = "+4930*"
            header."X-Tenant" = "acme*"
            agent = "sales"
            variables = { language = "de-DE" }
            [[route]]
            name = "one number"
            to = "+15550100"
            from = "+1999*"
            trunk = "carrier"
            "#,
        );
        let german = choose(
            &config,
            &invited("+493012", "x", &[("x-tenant", "acme-eu")]),
        )
        .unwrap();
        assert_eq!(
            (german.route.as_str(), german.agent.name.as_str()),
            ("german sales", "sales")
        );
        assert_eq!(german.variables["language"], "de-DE");
        let one = choose(&config, &invited("+15550100", "+19991", &[])).unwrap();
        assert_eq!(
            (one.route.as_str(), one.agent.name.as_str()),
            ("one number", "first")
        );
        assert_eq!(choose(&config, &invited("+493012", "x", &[])), None);
    }
}
