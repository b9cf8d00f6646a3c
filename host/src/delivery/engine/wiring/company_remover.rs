//! Builds what removes companies.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Wiring;
use crate::delivery::canceller::Canceller;
use crate::delivery::company_remover::CompanyRemover;
use crate::telemetry::ThrottledLog;

impl Wiring {
    pub(in crate::delivery::engine) fn company_remover(&self, canceller: &Arc<Canceller>) -> Arc<CompanyRemover> {
        Arc::new(CompanyRemover {
            store: self.store.clone(),
            canceller: canceller.clone(),
            plugins: self.plugins.clone(),
            ids: self.ids.clone(),
            clock: self.clock.clone(),
            wake: Notify::new(),
            stop: self.stop.clone(),
            log: ThrottledLog::default(),
        })
    }
}
