//! What the HTTP side counts, as lines of `GET /metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters of the HTTP side since the start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }

        impl Counters {
            /// As `OpenMetrics` text, without the final `# EOF`.
            pub fn render(&self) -> String {
                let mut text = String::new();
                $(render_one(
                    &mut text,
                    concat!("baton_http_", stringify!($name)),
                    concat!($($doc),+).trim(),
                    self.$name.load(Ordering::Relaxed),
                );)+
                text
            }
        }
    };
}

counters! {
    /// Refer webhooks that were answered with a redirect.
    refer_redirected,
    /// Refer webhooks without a `ReferTransferTarget`: somebody's caller arrives without context.
    refer_without_target,
    /// Refer webhooks whose target held no key: the same.
    refer_without_key,
    /// Refer webhooks whose key names no session known here.
    refer_unknown_key,
    /// Webhooks refused for a missing or wrong signature.
    webhook_refused,
    /// Requests refused for want of a key, or of its scope.
    unauthorized,
    /// Histories shown, as a page or as JSON.
    history_read,
    /// Requests that could not be served because the history store failed.
    history_unavailable,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn render_one(text: &mut String, name: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# HELP {name} {help}\n# TYPE {name} counter\n{name}_total {value}\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_read_as_open_metrics() {
        let counters = Counters::default();
        count(&counters.refer_without_target);
        let text = counters.render();
        assert!(text.contains("# TYPE baton_http_refer_without_target counter\n"));
        assert!(text.contains("baton_http_refer_without_target_total 1\n"));
        assert!(text.contains("baton_http_unauthorized_total 0\n"));
    }
}
