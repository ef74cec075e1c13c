//! What the process takes, by the names that every Prometheus client uses. Read from
//! `/proc/self` at each scrape (`proc_pid_stat(5)`); what cannot be read is left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// See the module.
#[derive(Debug)]
pub(super) struct Process;

/// Figures of a process.
#[derive(Debug, PartialEq)]
struct Taken {
    cpu_seconds: f64,
    threads: i64,
    virtual_bytes: i64,
    resident_bytes: i64,
    /// Seconds after the start of the system.
    started: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(taken) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| Taken::of(&stat)) {
            let cpu = ConstCounter::new(taken.cpu_seconds);
            let help = "Time of processors, user and system.";
            cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;
            gauge(&mut encoder, "process_threads", "Threads.", None, taken.threads)?;
            gauge(&mut encoder, "process_virtual_memory", "Virtual memory.", Some(&Unit::Bytes), taken.virtual_bytes)?;
            gauge(
                &mut encoder,
                "process_resident_memory",
                "Resident memory.",
                Some(&Unit::Bytes),
                taken.resident_bytes,
            )?;
            if let Some(booted) = booted() {
                let at = ConstGauge::new(booted + taken.started);
                let help = "When the process began, since 1970.";
                let name = "process_start_time";
                at.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), at.metric_type())?)?;
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is what they are read through.
            let open = i64::try_from(open.count()).unwrap_or(i64::MAX) - 1;
            gauge(&mut encoder, "process_open_fds", "Open descriptors.", None, open)?;
        }
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            gauge(&mut encoder, "process_max_fds", "Descriptors that may be open.", None, most)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<&Unit>, value: i64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

impl Taken {
    /// Reads the line of `/proc/PID/stat`. The name of the program may hold anything, so
    /// fields count from its closing bracket: the first one behind it is the third.
    fn of(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<i64>().ok());
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |number| Some(field(number)? as f64 / ticks);
        let page = i64::try_from(rustix::param::page_size()).ok()?;
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)?.checked_mul(page)?,
            started: seconds(22)?,
        })
    }
}

/// When the system began, in seconds since 1970.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 200 100 0 0 20 0 9 0 500 4096 3 0";
        let taken = Taken::of(&format!("77 (a) b (c)) {rest}")).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(taken.threads, 9);
        assert_eq!(taken.virtual_bytes, 4096);
        assert_eq!(taken.resident_bytes, 3 * i64::try_from(rustix::param::page_size()).unwrap());
        assert!((taken.cpu_seconds - 300.0 / ticks).abs() < 1e-9);
        assert_eq!(Taken::of("77 (cut"), None);
        assert_eq!(Taken::of("77 (cut) S 1 2"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let taken = Taken::of(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(taken.threads >= 1 && taken.resident_bytes > 0 && taken.virtual_bytes >= taken.resident_bytes);
        assert!(booted().unwrap() > 1e9);
    }
}
