//! The metrics of the process, under the names that Prometheus client libraries share. They are read when they are scraped.

use std::fmt;

use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads the process's own part of `/proc`. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut families = Families(encoder);
        let Ok(process) = Process::myself() else { return Ok(()) };
        if let Ok(stat) = process.stat() {
            let ticks = stat.utime.saturating_add(stat.stime);
            let cpu = ConstCounter::new(ticks as f64 / procfs::ticks_per_second() as f64);
            families.add("process_cpu", "Processor time of the process, in seconds", Some(Unit::Seconds), cpu)?;
            let resident = ConstGauge::new(stat.rss.saturating_mul(procfs::page_size()));
            families.add("process_resident_memory", "Memory of the process", Some(Unit::Bytes), resident)?;
            let virtual_memory = ConstGauge::new(stat.vsize);
            families.add(
                "process_virtual_memory",
                "Address space of the process",
                Some(Unit::Bytes),
                virtual_memory,
            )?;
        }
        if let Ok(count) = process.fd_count() {
            families.add("process_open_fds", "Open file descriptors", None, ConstGauge::new(count as u64))?;
        }
        if let Ok(limits) = process.limits() {
            let most = match limits.max_open_files.soft_limit {
                LimitValue::Value(most) => most,
                LimitValue::Unlimited => u64::MAX,
            };
            families.add("process_max_fds", "Most file descriptors that may be open", None, ConstGauge::new(most))?;
        }
        Ok(())
    }
}

struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn add<M: EncodeMetric + TypedMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        metric: M,
    ) -> Result<(), fmt::Error> {
        let help = format!("{help}.");
        metric.encode(self.0.encode_descriptor(name, &help, unit.as_ref(), M::TYPE)?)
    }
}
