//! The program's figures: one table of names, one atomic number for each. Counting takes no
//! lock and allocates nothing.
//!
//! A gauge whose truth is elsewhere (calls of the workers, legs of the media threads) is set
//! just before somebody reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// One more.
pub fn count(metric: Metric) {
    add(metric, 1);
}

pub fn add(metric: Metric, amount: u64) {
    FIGURES[metric as usize].fetch_add(amount, Ordering::Relaxed);
}

pub fn set(metric: Metric, value: u64) {
    FIGURES[metric as usize].store(value, Ordering::Relaxed);
}

pub fn read(metric: Metric) -> u64 {
    FIGURES[metric as usize].load(Ordering::Relaxed)
}

/// All figures in the Prometheus text format.
pub fn prometheus() -> String {
    let mut out = String::with_capacity(8 << 10);
    let mut before = "";
    for row in &TABLE {
        // Rows of one name stand together.
        if row.name != before {
            let kind = match row.kind {
                Type::Counter => "counter",
                Type::Gauge => "gauge",
            };
            let _ = writeln!(
                out,
                "# HELP {} {}\n# TYPE {} {kind}",
                row.name, row.help, row.name
            );
            before = row.name;
        }
        let value = read(row.metric);
        let _ = match row.label {
            "" => writeln!(out, "{} {value}", row.name),
            label => writeln!(out, "{}{{{label}}} {value}", row.name),
        };
    }
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
}

/// What is told of a metric.
#[derive(Debug)]
pub struct Row {
    pub metric: Metric,
    pub name: &'static str,
    /// e.g. `class="4xx"`, or empty
    pub label: &'static str,
    pub kind: Type,
    pub help: &'static str,
}

macro_rules! metrics {
    ($($metric:ident $kind:ident $name:literal $label:literal $help:literal;)*) => {
        /// Every figure that there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric { $($metric),* }

        pub const TABLE: [Row; COUNT] = [$(Row {
            metric: Metric::$metric, name: $name, label: $label, kind: Type::$kind, help: $help,
        }),*];

        const COUNT: usize = [$(Metric::$metric),*].len();
    };
}

static FIGURES: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];

metrics! {
    ApiRequests2xx Counter "gatepost_api_requests_total" "class=\"2xx\"" "REST requests by status class.";
    ApiRequests4xx Counter "gatepost_api_requests_total" "class=\"4xx\"" "REST requests by status class.";
    ApiRequests5xx Counter "gatepost_api_requests_total" "class=\"5xx\"" "REST requests by status class.";
    ApiUnauthorized Counter "gatepost_api_unauthorized_total" "" "REST requests without a valid token.";
    CallsActive Gauge "gatepost_calls_active" "" "Calls that are not over.";
    CallsStarted Counter "gatepost_calls_started_total" "" "Calls that came in or were originated.";
    CallsAnswered Counter "gatepost_calls_answered_total" "" "Calls that were answered.";
    CallsEnded2xx Counter "gatepost_calls_ended_total" "class=\"2xx\"" "Calls that ended, by the class of their final status.";
    CallsEnded3xx Counter "gatepost_calls_ended_total" "class=\"3xx\"" "Calls that ended, by the class of their final status.";
    CallsEnded4xx Counter "gatepost_calls_ended_total" "class=\"4xx\"" "Calls that ended, by the class of their final status.";
    CallsEnded5xx Counter "gatepost_calls_ended_total" "class=\"5xx\"" "Calls that ended, by the class of their final status.";
    CallsEnded6xx Counter "gatepost_calls_ended_total" "class=\"6xx\"" "Calls that ended, by the class of their final status.";
    CallsTalkSeconds Counter "gatepost_calls_talk_seconds_total" "" "Seconds between answer and end, of ended calls.";
    Decisions Counter "gatepost_decisions_total" "outcome=\"decided\"" "Plugins asked where a call goes or what to do with it, by outcome.";
    DecisionsAnswered Counter "gatepost_decisions_total" "outcome=\"answered\"" "Plugins asked where a call goes or what to do with it, by outcome.";
    DecisionsFailed Counter "gatepost_decisions_total" "outcome=\"failed\"" "Plugins asked where a call goes or what to do with it, by outcome.";
    DecisionsNext Counter "gatepost_decisions_total" "outcome=\"next\"" "Plugins asked where a call goes or what to do with it, by outcome.";
    DecisionsSkipped Counter "gatepost_decisions_total" "outcome=\"skipped\"" "Plugins asked where a call goes or what to do with it, by outcome.";
    DecisionWallMicros Counter "gatepost_decision_wall_microseconds_total" "" "Time that calls waited for plugins.";
    DecisionCpuMicros Counter "gatepost_decision_cpu_microseconds_total" "" "CPU time spent in plugins.";
    JournalEvents Counter "gatepost_journal_events_total" "" "Journal lines written to the spool.";
    JournalBytes Counter "gatepost_journal_bytes_total" "" "Bytes written to the spool.";
    JournalDropped Counter "gatepost_journal_dropped_total" "why=\"queue_full\"" "Journal lines that were lost.";
    JournalWriteFailed Counter "gatepost_journal_dropped_total" "why=\"write_failed\"" "Journal lines that were lost.";
    JournalTruncated Counter "gatepost_journal_dropped_total" "why=\"call_too_large\"" "Journal lines that were lost.";
    JournalSpoolBytes Gauge "gatepost_journal_spool_bytes" "" "Size of the spool on disk.";
    JournalWaiting Gauge "gatepost_journal_waiting_calls" "" "Ended calls that the database does not have yet.";
    JournalStoreErrors Counter "gatepost_journal_store_errors_total" "" "Failed attempts to move calls into the database.";
    MediaDroppedEvents Counter "gatepost_media_dropped_total" "why=\"events\"" "RTP packets and reports that were dropped.";
    MediaDroppedMalformed Counter "gatepost_media_dropped_total" "why=\"malformed\"" "RTP packets and reports that were dropped.";
    MediaDroppedNoLeg Counter "gatepost_media_dropped_total" "why=\"no_leg\"" "RTP packets and reports that were dropped.";
    MediaDroppedSource Counter "gatepost_media_dropped_total" "why=\"source\"" "RTP packets and reports that were dropped.";
    MediaDroppedTransmits Counter "gatepost_media_dropped_total" "why=\"transmits\"" "RTP packets and reports that were dropped.";
    MediaLegs Gauge "gatepost_media_legs" "" "Legs that have media.";
    MediaReceived Counter "gatepost_media_packets_total" "direction=\"received\"" "RTP and RTCP packets.";
    MediaSent Counter "gatepost_media_packets_total" "direction=\"sent\"" "RTP and RTCP packets.";
    PluginDeployed Counter "gatepost_plugin_deploys_total" "result=\"live\"" "Versions that came, by what became of them.";
    PluginRefused Counter "gatepost_plugin_deploys_total" "result=\"refused\"" "Versions that came, by what became of them.";
    SipConnections Gauge "gatepost_sip_connections" "" "Open TCP connections.";
    SipDropped Counter "gatepost_sip_dropped_total" "why=\"worker_queue_full\"" "Datagrams that were dropped.";
    SipOverflowed Counter "gatepost_sip_dropped_total" "why=\"socket_full\"" "Datagrams that were dropped.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_distinct_and_those_of_one_name_stand_together() {
        let mut rows = BTreeSet::new();
        let mut names = Vec::new();
        for row in &TABLE {
            assert!(
                rows.insert((row.name, row.label)),
                "{} {} twice",
                row.name,
                row.label
            );
            if names.last() != Some(&row.name) {
                assert!(!names.contains(&row.name), "{} in two places", row.name);
                names.push(row.name);
            }
            assert!(row.name.starts_with("gatepost_"), "{}", row.name);
            assert_eq!(
                row.kind == Type::Counter,
                row.name.ends_with("_total"),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn a_scrape_tells_each_name_once_and_each_row() {
        add(Metric::MediaReceived, 3);
        let text = prometheus();
        assert_eq!(
            text.matches("# TYPE gatepost_media_packets_total counter")
                .count(),
            1
        );
        assert!(
            text.contains("gatepost_media_packets_total{direction=\"received\"} "),
            "{text}"
        );
        assert_eq!(
            text.lines().filter(|line| !line.starts_with('#')).count(),
            TABLE.len()
        );
    }
}
