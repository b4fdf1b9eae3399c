//! What `/metrics` shows (`OpenMetrics` text, as Prometheus reads it).
//!
//! Cores and shards keep plain counters; they are sampled when somebody asks. What happens per call is counted as it
//! happens. No label has values that a peer can choose.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use baton_core::admission;
use baton_core::leg::event::Summary;
use baton_core::sip::endpoint::Counters;
use baton_core::sip::registration::Standing;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::net::media_shard::ShardStats;
use crate::net::streams;

/// How a call ended: `end.kind`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    kind: &'static str,
}

/// How a handoff went: style and final state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandoffLabel {
    style: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrunkLabel {
    trunk: String,
}

/// A counter whose value is kept elsewhere and copied here when somebody asks.
#[derive(Debug, Clone, Default)]
struct Sampled(Counter);

impl Sampled {
    fn set(&self, value: u64) {
        let counter: &AtomicU64 = self.0.inner();
        counter.store(value, Ordering::Relaxed);
    }
}

/// Where each copied counter comes from, and its copy.
type Copies<T> = Vec<(fn(&T) -> u64, Sampled)>;

/// Every metric of one node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sip: Copies<Counters>,
    connections: Copies<streams::Counters>,
    open_connections: Gauge,
    media: Copies<ShardStats>,
    admission: Copies<admission::Counters>,
    registered: Family<TrunkLabel, Gauge>,
    legs: Gauge,
    calls: Gauge,
    ended: Family<EndLabel, Counter>,
    handoffs: Family<HandoffLabel, Counter>,
    setup: Histogram,
    first_audio: Histogram,
    jitter: Histogram,
    lost: Counter,
    concealed: Counter<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("baton");
        let sip = sip_counters(&mut registry);
        let connections = connection_counters(&mut registry);
        let media = media_counters(&mut registry);
        let admission = admission_counters(&mut registry);
        let seconds = |buckets: &[f64]| Histogram::new(buckets.iter().copied());
        let metrics = Self {
            sip,
            connections,
            open_connections: Gauge::default(),
            media,
            admission,
            registered: Family::default(),
            legs: Gauge::default(),
            calls: Gauge::default(),
            ended: Family::default(),
            handoffs: Family::default(),
            setup: seconds(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
            first_audio: seconds(&[0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]),
            jitter: seconds(&[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]),
            lost: Counter::default(),
            concealed: Counter::default(),
            registry,
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "media_legs",
            "Calls whose voice is carried",
            self.legs.clone(),
        );
        registry.register(
            "sip_connections",
            "TCP and TLS connections open now",
            self.open_connections.clone(),
        );
        registry.register("calls", "Calls now", self.calls.clone());
        registry.register(
            "registered",
            "1 while a trunk's registrar keeps our binding",
            self.registered.clone(),
        );
        registry.register(
            "calls_ended",
            "Calls ended, by end.kind",
            self.ended.clone(),
        );
        registry.register(
            "handoffs",
            "Handoffs finished, by style and state",
            self.handoffs.clone(),
        );
        for (name, help, histogram) in [
            ("setup", "INVITE to answer", &self.setup),
            (
                "first_audio",
                "Answer to the agent's first audio",
                &self.first_audio,
            ),
            (
                "jitter",
                "Interarrival jitter of a call, at its end",
                &self.jitter,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        registry.register("rtp_lost", "Packets that never came", self.lost.clone());
        registry.register_with_unit(
            "concealed",
            "Audio made up for lost packets",
            Unit::Seconds,
            self.concealed.clone(),
        );
        self
    }

    /// Copies how each registration stands.
    pub fn sample_registrations(&self, standings: &[(String, Standing)]) {
        self.registered.clear(); // a trunk may have gone
        for (trunk, standing) in standings {
            let trunk = trunk.clone();
            let registered = i64::from(*standing == Standing::Registered);
            self.registered
                .get_or_create(&TrunkLabel { trunk })
                .set(registered);
        }
    }

    /// Copies signalling's counters.
    pub fn sample_sip(&self, counters: &Counters) {
        for (read, metric) in &self.sip {
            metric.set(read(counters));
        }
    }

    /// Copies the counters of stream connections.
    pub fn sample_streams(&self, counters: &streams::Counters) {
        for (read, metric) in &self.connections {
            metric.set(read(counters));
        }
        self.open_connections
            .set(i64::try_from(counters.open).unwrap_or(i64::MAX));
    }

    /// Copies the media threads' counters, summed.
    pub fn sample_media<'a>(&self, shards: impl Iterator<Item = &'a ShardStats>) {
        let shards: Vec<_> = shards.collect();
        for (read, metric) in &self.media {
            metric.set(shards.iter().map(|shard| read(shard)).sum());
        }
        let legs: usize = shards
            .iter()
            .map(|shard| shard.legs.load(Ordering::Relaxed))
            .sum();
        self.legs.set(i64::try_from(legs).unwrap_or(i64::MAX));
    }

    /// Copies admission's counters.
    pub fn sample_admission(&self, counters: &admission::Counters) {
        for (read, metric) in &self.admission {
            metric.set(read(counters));
        }
    }

    /// How many calls there are now.
    pub fn set_calls(&self, calls: usize) {
        self.calls.set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// A call ended; `kind`: its `end.kind`.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one call")]
    pub fn call_ended(
        &self,
        kind: &'static str,
        setup: Option<Duration>,
        first_audio: Option<Duration>,
        media: &Summary,
    ) {
        self.ended.get_or_create(&EndLabel { kind }).inc();
        for (histogram, value) in [(&self.setup, setup), (&self.first_audio, first_audio)] {
            if let Some(value) = value {
                histogram.observe(value.as_secs_f64());
            }
        }
        if media.packets_received > 0 {
            self.jitter.observe(media.jitter_ms / 1e3);
        }
        self.lost.inc_by(media.packets_lost);
        self.concealed.inc_by(media.concealed_ms as f64 / 1e3);
    }

    /// A handoff reached its final state.
    pub fn handoff_ended(&self, style: &'static str, state: &'static str) {
        self.handoffs
            .get_or_create(&HandoffLabel { style, state })
            .inc();
    }

    /// As text; its media type is [`Metrics::CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String fails only if a metric's own encoding does; then what was written so far is shown.
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            tracing::warn!("a metric cannot be encoded");
        }
        text
    }

    /// `Content-Type` of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

fn connection_counters(registry: &mut Registry) -> Copies<streams::Counters> {
    type Row = (&'static str, &'static str, fn(&streams::Counters) -> u64);
    let rows: [Row; 8] = [
        ("accepted", "Connections that came to us", |c| c.accepted),
        ("connected", "Connections we opened, or tried to", |c| {
            c.connected
        }),
        ("closed_by_limit", "Closed to make room for another", |c| {
            c.closed_by_limit
        }),
        (
            "closed_by_deadline",
            "Closed for saying nothing, or nothing whole, in time",
            |c| c.closed_by_deadline,
        ),
        (
            "closed_unread",
            "Closed because the peer did not read",
            |c| c.closed_unread,
        ),
        ("closed_for_framing", "Closed because it was no SIP", |c| {
            c.closed_for_framing
        }),
        ("failed_handshakes", "TLS handshakes that failed", |c| {
            c.failed_handshakes
        }),
        ("unreachable", "Peers nobody could connect to", |c| {
            c.unreachable
        }),
    ];
    let sub = registry.sub_registry_with_prefix("sip_connections");
    rows.into_iter()
        .map(|(name, help, read)| {
            let metric = Sampled::default();
            sub.register(name, help, metric.0.clone());
            (read, metric)
        })
        .collect()
}

fn sip_counters(registry: &mut Registry) -> Copies<Counters> {
    type Row = (&'static str, &'static str, fn(&Counters) -> u64);
    let rows: [Row; 16] = [
        ("received", "Messages taken in", |c| c.received),
        ("sent", "Messages put on the wire", |c| c.sent),
        ("malformed", "What could not be read as SIP", |c| {
            c.malformed
        }),
        ("repeats_received", "Requests that were repeats", |c| {
            c.repeats_received
        }),
        ("repeats_sent", "Messages sent again by a timer", |c| {
            c.repeats_sent
        }),
        ("refused", "Requests refused before a call saw them", |c| {
            c.refused
        }),
        ("strangers", "Requests from sources of no trunk", |c| {
            c.strangers
        }),
        ("challenged", "Requests answered 401", |c| c.challenged),
        ("challenges_answered", "Challenges we answered", |c| {
            c.challenges_answered
        }),
        ("overloaded", "Requests answered 503", |c| c.overloaded),
        ("shed", "New calls dropped unread in a flood", |c| c.shed),
        ("strays", "Messages that belong to nothing", |c| c.strays),
        ("calls_in", "Calls that reached us", |c| c.calls_in),
        ("calls_out", "Calls we placed", |c| c.calls_out),
        ("timeouts", "Requests that nobody answered", |c| c.timeouts),
        ("send_errors", "Sends that failed", |c| c.send_errors),
    ];
    let sub = registry.sub_registry_with_prefix("sip");
    rows.into_iter()
        .map(|(name, help, read)| {
            let metric = Sampled::default();
            sub.register(name, help, metric.0.clone());
            (read, metric)
        })
        .collect()
}

fn media_counters(registry: &mut Registry) -> Copies<ShardStats> {
    type Row = (&'static str, &'static str, fn(&ShardStats) -> u64);
    let rows: [Row; 7] = [
        ("received", "Datagrams received", |s| load(&s.received)),
        ("sent", "Datagrams sent", |s| load(&s.sent)),
        ("send_errors", "Datagrams the system did not take", |s| {
            load(&s.send_errors)
        }),
        ("ticks", "Frame ticks served", |s| load(&s.ticks)),
        (
            "ticks_skipped",
            "Frame ticks skipped by a late thread",
            |s| load(&s.ticks_skipped),
        ),
        ("events_dropped", "Events that a call did not take", |s| {
            load(&s.events_dropped)
        }),
        ("panics", "Legs ended by a bug", |s| load(&s.panics)),
    ];
    let sub = registry.sub_registry_with_prefix("media");
    rows.into_iter()
        .map(|(name, help, read)| {
            let metric = Sampled::default();
            sub.register(name, help, metric.0.clone());
            (read, metric)
        })
        .collect()
}

fn admission_counters(registry: &mut Registry) -> Copies<admission::Counters> {
    type Row = (&'static str, &'static str, fn(&admission::Counters) -> u64);
    let rows: [Row; 4] = [
        ("admitted", "Calls taken", |c| c.admitted),
        ("over_calls", "Calls refused: too many at once", |c| {
            c.over_calls
        }),
        ("over_rate", "Calls refused: too many a second", |c| {
            c.over_rate
        }),
        (
            "over_source",
            "Calls refused: too many from one source",
            |c| c.over_source,
        ),
    ];
    let sub = registry.sub_registry_with_prefix("admission");
    rows.into_iter()
        .map(|(name, help, read)| {
            let metric = Sampled::default();
            sub.register(name, help, metric.0.clone());
            (read, metric)
        })
        .collect()
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_sampled_and_calls_are_counted() {
        let metrics = Metrics::new();
        let shards = [ShardStats::default(), ShardStats::default()];
        shards[0].received.store(5, Ordering::Relaxed);
        shards[1].received.store(7, Ordering::Relaxed);
        shards[1].legs.store(3, Ordering::Relaxed);
        metrics.sample_media(shards.iter());
        metrics.sample_sip(&Counters::default());
        let standings = [
            ("pbx".to_owned(), Standing::Failed(403)),
            ("itsp".to_owned(), Standing::Registered),
        ];
        metrics.sample_registrations(&[("gone".to_owned(), Standing::Registered)]);
        metrics.sample_registrations(&standings);
        metrics.sample_admission(&admission::Counters {
            over_rate: 6,
            ..admission::Counters::default()
        });
        metrics.set_calls(4);
        metrics.sample_streams(&streams::Counters::default());
        let media = Summary {
            packets_received: 100,
            packets_lost: 2,
            concealed_ms: 40,
            jitter_ms: 1.5,
            ..Summary::default()
        };
        metrics.call_ended("transferred", Some(Duration::from_millis(30)), None, &media);
        metrics.handoff_ended("refer", "transferred");
        let text = metrics.render();
        for line in [
            "baton_media_received_total 12",
            "baton_media_legs 3",
            "baton_sip_received_total 0",
            "baton_registered{trunk=\"pbx\"} 0",
            "baton_registered{trunk=\"itsp\"} 1",
            "baton_admission_over_rate_total 6",
            "baton_sip_connections 0",
            "baton_sip_connections_closed_by_limit_total 0",
            "baton_calls 4",
            "baton_calls_ended_total{kind=\"transferred\"} 1",
            "baton_handoffs_total{style=\"refer\",state=\"transferred\"} 1",
            "baton_rtp_lost_total 2",
            "baton_concealed_seconds_total 0.04",
            "baton_setup_seconds_bucket{le=\"0.05\"} 1",
            "baton_first_audio_seconds_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn sampling_twice_shows_the_last_value_and_not_the_sum() {
        let metrics = Metrics::new();
        let shard = ShardStats::default();
        for received in [10, 11] {
            shard.received.store(received, Ordering::Relaxed);
            metrics.sample_media(std::iter::once(&shard));
        }
        assert!(metrics.render().contains("baton_media_received_total 11\n"));
    }
}
