//! The only room that knows SQL. The database is the log; memory is the fast path.
//!
//! [`Store`] is the handle that every other room uses; the files add its methods by subject. All changes go through one
//! [`writer`] per process; reads run beside it on a small pool of connections.
//!
//! Modules import in one direction: `handle` and what it is made of (`backend`, `cache`, `changes`, `writer`) know nothing of
//! the subjects (`deliveries`, `webhooks`, `plugins`, `keys`, `nodes`, `transfer`), which import the handle.

mod backend;
mod backup;
mod cancel_selection;
mod changes;
mod clock_doubt;
mod companies;
mod damage;
mod database_file;
mod db;
mod deliveries;
mod delivery_rows;
mod delivery_writes;
mod disk_reserve;
mod earlier_log;
mod error;
mod event_rule_cache;
mod event_rules;
mod event_types;
mod event_usage;
mod handle;
mod integrity;
mod interrupt;
mod key_cache;
mod keys;
mod migrations;
mod multi_row;
mod nodes;
mod plugins;
mod policies;
mod pull;
mod quotas;
mod readers;
mod restore;
mod seal;
mod secret_reset;
mod size;
mod subscription_key;
mod transfer;
mod transfer_marks;
mod webhook_cache;
mod webhooks;
mod writer;

pub use backend::{database_kind, database_name};
pub use backup::backup;
pub use cancel_selection::{CancelSelection, CancelState};
pub use changes::Change;
pub use companies::{COUNT_LIMIT, CompanySummary};
pub use deliveries::{
    BacklogSelection, BackloggedWebhook, Cancellation, CompanyRemoval, CountedEvents, DeliveryFilter, DeliveryKey,
    ErasedAmount, ErasedEvent, Erasure, ErasureRecord, ErasureSelection, ErasureStep, EventDetail, EventFilter,
    EventRecord, FinishedErasure, FinishedRemoval, LogPage, OrphanPage, PageRequest, PastEvents, RemovalRecord,
    RemovalStep, Replay, ReplayKey, ReplayRecord, ReplayStep, RetryMode, RetryRequest, WaitingLimits, WaitingPage,
};
pub use delivery_rows::{
    ClaimedDelivery, DeliveryUpdate, Lease, NewDelivery, NewDeliveryWaits, NewEventRow, Published, first_id,
};
pub use delivery_writes::LeaseHorizon;
pub use earlier_log::EarlierRows;
pub use error::StoreError;
pub use event_rule_cache::ReadSchema;
pub use event_rules::EventRule;
pub use event_types::{EventTypePage, EventTypeSelection, StoredEventType};
pub use handle::{Store, WriterEnd};
pub use keys::KeyStore;
pub use nodes::{Node, OwnershipRequest};
pub use plugins::{Activation, Follower, NewVersion, PluginChange, PluginRow, PluginUser, VersionRow};
pub use policies::StoredPolicy;
pub use pull::{PullAck, PullEntry, PullPage, PullRead, PullRequest, PulledDelivery};
pub use quotas::QuotaChange;
pub use restore::{Restored, RestoredSecrets, restore};
pub use seal::Sealer;
pub use secret_reset::{SecretReset, holds_secrets, reset_secrets};
pub use transfer::{TransferProgress, transfer};
pub use webhooks::{
    DisableReason, FailureNote, IfTaken, Rotation, StoredWebhook, WebhookFilter, WebhookKey, WebhookPage,
};
pub use writer::Publish;
