//! Which agent answers a call, and where it is handed over: the first route that matches.

use std::sync::Arc;

use baton_core::sip::endpoint::Invited;
use wildmatch::WildMatch;

use crate::bridge::plan::Terms;

/// Every route in order; the first match wins.
#[derive(Debug, Clone, Default)]
pub struct Table(Vec<Route>);

/// One route: what a call must look like, and what is settled for it then.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Called user part, glob with `*` and `?`.
    pub to: Option<WildMatch>,
    /// Caller's user part, glob.
    pub from: Option<WildMatch>,
    /// Name of the trunk, exact.
    pub trunk: Option<String>,
    /// Header field values, glob.
    pub headers: Vec<(String, WildMatch)>,
    /// What is settled.
    pub terms: Arc<Terms>,
}

impl Table {
    /// In this order.
    pub fn new(routes: Vec<Route>) -> Self {
        Self(routes)
    }

    /// The terms of the first route that matches; `None`: the call is answered 404.
    pub fn choose(&self, invited: &Invited) -> Option<Arc<Terms>> {
        let route = self.0.iter().find(|route| route.matches(invited))?;
        Some(Arc::clone(&route.terms))
    }
}

impl Route {
    fn matches(&self, invited: &Invited) -> bool {
        let glob = |pattern: &Option<WildMatch>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
        };
        glob(&self.to, &invited.called)
            && glob(&self.from, &invited.caller)
            && self
                .trunk
                .as_ref()
                .is_none_or(|trunk| *trunk == invited.trunk)
            && self.headers.iter().all(|(name, pattern)| {
                invited
                    .header(name)
                    .is_some_and(|value| pattern.matches(value))
            })
    }
}

#[cfg(test)]
mod tests {
    use baton_core::call;
    use baton_core::sip::endpoint::{DialogId, Flow, Transport};

    use super::*;

    fn invited(to: &str, from: &str, headers: &[(&str, &str)]) -> Invited {
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
            request_uri: format!("sip:{to}@h"),
            called: to.into(),
            caller: from.into(),
            caller_name: None,
            headers: headers
                .iter()
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect(),
            allows_refer: true,
            offer: bytes::Bytes::new(),
        }
    }

    fn route(name: &str) -> Route {
        let route = call::Route {
            name: name.into(),
            ..call::Route::default()
        };
        Route {
            terms: Arc::new(Terms {
                route,
                ..Terms::default()
            }),
            ..Route::default()
        }
    }

    fn chosen(table: &Table, invited: &Invited) -> Option<String> {
        Some(table.choose(invited)?.route.name.clone())
    }

    #[test]
    fn the_first_route_that_matches_wins() {
        let table = Table::new(vec![
            Route {
                to: Some(WildMatch::new("+4930*")),
                headers: vec![("X-Tenant".into(), WildMatch::new("acme*"))],
                ..route("german sales")
            },
            Route {
                to: Some(WildMatch::new("+15550100")),
                from: Some(WildMatch::new("+1999*")),
                trunk: Some("carrier".into()),
                ..route("one number")
            },
        ]);
        let german = invited("+493012", "x", &[("x-tenant", "acme-eu")]);
        assert_eq!(chosen(&table, &german).as_deref(), Some("german sales"));
        let one = invited("+15550100", "+19991", &[]);
        assert_eq!(chosen(&table, &one).as_deref(), Some("one number"));
        assert_eq!(chosen(&table, &invited("+493012", "x", &[])), None);
    }

    #[test]
    fn a_route_without_conditions_matches_all() {
        let table = Table::new(vec![route("all")]);
        assert_eq!(
            chosen(&table, &invited("1", "2", &[])).as_deref(),
            Some("all")
        );
    }
}
