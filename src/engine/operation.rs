//! An operation as it stands, and as it is written down.

use super::error::Error;
use super::lock;
use super::training::{Progress, Task, Trained};
use crate::store::OperationRecord;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Why an operation came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Somebody cancelled it.
    Cancelled,
    /// The server stopped.
    Aborted,
    /// What it was to work on does not do.
    Unfit,
    /// A fault of ours or of the disk.
    Internal,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum End {
    /// A model was trained and is kept.
    Trained(Box<Trained>),
    /// Nothing came of it.
    Failed(Cause, String),
}

/// An operation as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its name.
    pub name: String,
    /// What it does.
    pub task: Task,
    /// How far it is.
    pub progress: Progress,
    /// Whether it was begun.
    pub begun: bool,
    /// When it was accepted, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: Option<u64>,
    /// How it ended; `None` while it is under way.
    pub end: Option<End>,
}

impl Operation {
    /// As it is written down.
    pub(super) fn record(&self) -> Result<OperationRecord, Error> {
        let json = |e: serde_json::Error| Error::Internal(format!("writing an operation: {e}"));
        Ok(OperationRecord {
            task: serde_json::to_value(&self.task).map_err(json)?,
            end: self
                .end
                .as_ref()
                .map(serde_json::to_value)
                .transpose()
                .map_err(json)?,
            name: self.name.clone(),
            created_ms: self.created_ms,
            ended_ms: self.ended_ms,
        })
    }
}

/// An operation and those who wait for it.
#[derive(Debug)]
pub(super) struct Entry {
    operation: Mutex<Operation>,
    cancel: AtomicBool,
    ended: watch::Sender<bool>,
}

impl Entry {
    pub(super) fn new(operation: Operation) -> Arc<Self> {
        let (ended, _) = watch::channel(operation.end.is_some());
        Arc::new(Self {
            operation: Mutex::new(operation),
            cancel: AtomicBool::new(false),
            ended,
        })
    }

    pub(super) fn read(&self) -> Operation {
        lock(&self.operation).clone()
    }

    /// Set when it is to stop.
    pub(super) fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// Asks it to stop.
    pub(super) fn stop(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin(&self) {
        lock(&self.operation).begun = true;
    }

    /// Tells those who wait how it ended.
    pub(super) fn end(&self, end: End, ended_ms: u64) {
        let mut operation = lock(&self.operation);
        operation.end = Some(end);
        operation.ended_ms = Some(ended_ms);
        drop(operation);
        self.ended.send_replace(true);
    }

    /// Tells when it has ended.
    pub(super) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    pub(super) fn tell(&self, progress: Progress) {
        lock(&self.operation).progress = progress;
    }
}

/// An operation from its record.
pub(super) fn read(record: OperationRecord) -> Result<Operation, Error> {
    let json = |e: serde_json::Error| Error::Internal(format!("{}: {e}", record.name));
    let end = record.end.map(serde_json::from_value).transpose();
    let end: Option<End> = end.map_err(json)?;
    let progress = match &end {
        Some(End::Trained(trained)) => Progress {
            step: trained.steps,
            fraction: 1.0,
            loss: trained.loss,
            seconds_left: 0,
        },
        _ => Progress::default(),
    };
    Ok(Operation {
        task: serde_json::from_value(record.task).map_err(json)?,
        end,
        name: record.name.clone(),
        progress,
        begun: record.ended_ms.is_some(),
        created_ms: record.created_ms,
        ended_ms: record.ended_ms,
    })
}
