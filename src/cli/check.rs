//! shell: `fieldpost check FILE`: every complaint about a configuration file at once.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::{ExitStatus, plan};
use crate::access::{AccessError, Gate};
use crate::config::{self, Complaints, Parsed, Settings, Severity, SystemSecrets, TemplateUse};
use crate::field::forecast::Forecast;
use crate::field::{BusSettings, Notebook};
use crate::model::{TopicError, TopicName};
use crate::payload::Publisher;
use crate::uplink::Carried;

/// Arguments of `check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = "/etc/fieldpost/fieldpost.yaml")]
    pub file: PathBuf,
    /// Also say what the uplinks do with this topic, once as one of ours and once as one of the upstream's
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    pub topic: Option<TopicName>,
    /// Also say how each bus will be read: transactions, bytes, time on the wire, and what is tightest
    #[arg(long)]
    pub plan: bool,
    /// Print complaints and summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks a configuration file, and the users and rules it names, and says everything that is wrong. Secrets and those
/// files need not be on this machine; a warning names those that are not. Warnings leave the status [`ExitStatus::Done`].
///
/// # Errors
/// `out` cannot be written to.
pub fn check(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let result = config::load(&args.file, &SystemSecrets::for_check());
    let (settings, complaints, templates) = match &result {
        Ok(Parsed { settings, warnings, templates }) => (Some(settings), warnings, &templates[..]),
        Err(complaints) => (None, complaints, &[][..]),
    };
    let access = settings.and_then(|settings| Gate::check(&settings.broker.access).err());
    let is_absent = |error: &AccessError| matches!(error, AccessError::Unreadable { .. });
    let settings = settings.filter(|_| access.as_ref().is_none_or(is_absent));
    let forecasts = settings.map(forecasts).unwrap_or_default();
    let overloads: Vec<_> = forecasts.iter().filter_map(|it| Some((it, it.overload()?))).collect();
    let written = if args.json {
        let mut report = report(&args.file, settings, complaints);
        for (forecast, (message, remedy)) in &overloads {
            plan::add_overload(&mut report, forecast, message, remedy);
        }
        report["templates"] = templates.iter().map(used).collect();
        if args.plan {
            report["buses"] = forecasts.iter().map(plan::to_json).collect();
        }
        if let Some(error) = &access {
            report["access"] = json!(error.to_string());
        }
        if let (Some(topic), Some(settings)) = (&args.topic, settings) {
            report["topic"] = roads(topic, settings).iter().map(Road::to_json).collect();
        }
        writeln!(out, "{report:#}")
    } else {
        let gap = if complaints.is_empty() { "" } else { "\n" };
        let file = args.file.display();
        let overloads_text: String = overloads
            .iter()
            .map(|(_, (message, remedy))| {
                format!("{file}: {}: {message}\n  = help: {remedy}\n\n", Severity::Warning)
            })
            .collect();
        let mut plan: String = forecasts.iter().filter(|_| args.plan).map(plan::to_text).collect();
        for line in settings.iter().filter(|_| args.plan).flat_map(|settings| &settings.lines) {
            plan.push_str(&plan::of_line(&line.name));
        }
        let access = access.as_ref().map_or(String::new(), |error| {
            let severity = if is_absent(error) { Severity::Warning } else { Severity::Error };
            format!("{severity}: {error}\n\n")
        });
        let summary = match settings {
            None if !access.is_empty() => "users and rules of the broker cannot be used".to_owned(),
            settings => summary(settings, complaints, overloads.len()),
        };
        let roads = args.topic.as_ref().zip(settings).map(|(topic, settings)| {
            let roads: Vec<String> = roads(topic, settings).iter().map(Road::to_string).collect();
            if roads.is_empty() { format!("no uplink takes `{topic}`\n") } else { roads.concat() }
        });
        let roads = roads.unwrap_or_default();
        let instead: String = templates.iter().filter_map(instead).collect();
        write!(
            out,
            "{complaints}{gap}{access}{overloads_text}{file}: {summary}\n{instead}{roads}{plan}"
        )
    };
    written.context("cannot write the complaints")?;
    Ok(if settings.is_some() { ExitStatus::Done } else { ExitStatus::Wrong })
}

/// Which template a device uses, for machines.
fn used(it: &TemplateUse) -> Value {
    json!({
        "device": it.device,
        "template": it.template,
        "file": it.file,
        "instead_of_built_in": it.is_instead,
    })
}

/// A line about a template of the operator's own that hides one of the program's.
fn instead(it: &TemplateUse) -> Option<String> {
    let TemplateUse { device, template, file, .. } = it;
    let file = file.as_deref().filter(|_| it.is_instead)?;
    Some(format!("{device}: `{template}` is {file}, instead of the one that is built in\n"))
}

/// How the buses will be read, with what a gateway that ran here has learnt about their devices.
fn forecasts(settings: &Settings) -> Vec<Forecast> {
    let forecast = |bus: &BusSettings| {
        let memory = Notebook::new(&settings.queue.state_dir, &bus.name).read();
        Forecast::new(bus, &settings.devices, &memory)
    };
    settings.buses.iter().map(forecast).collect()
}

/// What one uplink does with a topic one way.
#[derive(Debug)]
struct Road<'a> {
    uplink: &'a str,
    is_up: bool,
    carried: Carried,
}

impl Road<'_> {
    fn to_json(&self) -> Value {
        let Carried { rule, topic, qos, retain } = &self.carried;
        json!({
            "uplink": self.uplink,
            "rules": if self.is_up { "forward" } else { "accept" },
            "filter": rule.as_str(),
            "topic": topic.as_str(),
            "qos": qos.level(),
            "retain": retain,
        })
    }
}

impl std::fmt::Display for Road<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Carried { rule, topic, qos, retain } = &self.carried;
        let way =
            if self.is_up { "published here, goes up as" } else { "published there, comes as" };
        let flag = if *retain { "" } else { ", never retained" };
        let uplink = self.uplink;
        writeln!(f, "{uplink}: {way} `{topic}`, QoS {} at most{flag}, by `{rule}`", qos.level())
    }
}

/// What the uplinks do with a topic, as one that is published here and as one that is published there.
fn roads<'a>(topic: &TopicName, settings: &'a Settings) -> Vec<Road<'a>> {
    let mut roads = Vec::new();
    let withheld = Publisher::uplinks_filter(&settings.gateway.id);
    let stays = withheld.is_ok_and(|filter| filter.matches(topic));
    for uplink in &settings.uplinks {
        let up = uplink.carried_up(topic).filter(|_| !stays);
        for (is_up, carried) in [(true, up), (false, uplink.carried_down(topic))] {
            let uplink = &*uplink.name;
            roads.extend(carried.map(|carried| Road { uplink, is_up, carried }));
        }
    }
    roads
}

fn topic(text: &str) -> Result<TopicName, TopicError> {
    TopicName::new(text)
}

/// `fine: 2 buses, 3 devices, 14 points, 1 uplink` or `3 errors, 1 warning`.
fn summary(settings: Option<&Settings>, complaints: &Complaints, overloads: usize) -> String {
    let warnings = complaints.count(Severity::Warning) + overloads;
    let mut parts = Vec::new();
    let verdict = if let Some(settings) = settings {
        parts.push(counted(settings.buses.len() + settings.lines.len(), "bus", "buses"));
        parts.push(counted(settings.devices.len(), "device", "devices"));
        parts.push(counted(points(settings), "point", "points"));
        parts.push(counted(settings.uplinks.len(), "uplink", "uplinks"));
        if !settings.broker.listeners.is_empty() {
            parts.push(counted(settings.broker.listeners.len(), "listener", "listeners"));
        }
        "fine: "
    } else {
        parts.push(counted(complaints.count(Severity::Error), "error", "errors"));
        ""
    };
    if warnings > 0 {
        parts.push(counted(warnings, "warning", "warnings"));
    }
    format!("{verdict}{}", parts.join(", "))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn points(settings: &Settings) -> usize {
    settings.devices.iter().map(|device| device.point_count()).sum()
}

fn report(file: &Path, settings: Option<&Settings>, complaints: &Complaints) -> Value {
    let list: Vec<Value> = complaints
        .iter()
        .map(|complaint| {
            json!({
                "severity": complaint.severity.to_string(),
                "file": complaint.file,
                "line": complaint.line,
                "column": complaint.column,
                "path": complaint.path,
                "text": complaint.text,
                "message": complaint.message,
                "remedy": complaint.remedy,
            })
        })
        .collect();
    let counts = settings.map(|settings| {
        json!({
            "buses": settings.buses.len() + settings.lines.len(),
            "devices": settings.devices.len(),
            "points": points(settings),
            "uplinks": settings.uplinks.len(),
            "listeners": settings.broker.listeners.len(),
        })
    });
    json!({
        "file": file.display().to_string(),
        "fine": settings.is_some(),
        "errors": complaints.count(Severity::Error),
        "warnings": complaints.count(Severity::Warning),
        "counts": counts,
        "complaints": list,
    })
}
