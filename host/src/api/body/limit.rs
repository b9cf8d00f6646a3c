//! How large a body may be, and which setting says so.

/// The rest of an event besides its data, in bytes.
const EVENT_OVERHEAD_BYTES: usize = 64 * 1024;
/// Most bytes of a JSON body other than an event's, and of a dry-run besides its event's data.
const MAX_JSON_BYTES: usize = 256 * 1024;
/// Most bytes of a batch.
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// The limit of a body. An event's variants hold `--max-event-bytes`, a plugin's `--max-plugin-bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum BodyLimit {
    Json,
    /// One event, or a line of a batch.
    Event(usize),
    Batch(usize),
    DryRun(usize),
    Plugin(usize),
}

impl BodyLimit {
    /// Returns the most bytes.
    pub(in crate::api) fn bytes(self) -> usize {
        match self {
            Self::Json => MAX_JSON_BYTES,
            Self::Event(data) => data.saturating_add(EVENT_OVERHEAD_BYTES),
            Self::Batch(data) => MAX_BATCH_BYTES.max(Self::Event(data).bytes()),
            Self::DryRun(data) => data.saturating_add(MAX_JSON_BYTES),
            Self::Plugin(bytes) => bytes,
        }
    }

    /// Says that a body is larger, and which setting decides.
    pub(in crate::api) fn exceeded(self) -> String {
        let bytes = self.bytes();
        match self {
            Self::Json => format!("the body is over {bytes} bytes, the limit of every JSON body but an event's"),
            Self::Event(data) => format!(
                "the event is over {bytes} bytes: its data may have {data} (`--max-event-bytes`), all else \
                 {EVENT_OVERHEAD_BYTES}"
            ),
            Self::Batch(_) => format!("the batch is over {bytes} bytes, the limit of every batch; send it in parts"),
            Self::DryRun(data) => format!(
                "the body is over {bytes} bytes: the event's data may have {data} (`--max-event-bytes`), all else \
                 {MAX_JSON_BYTES}"
            ),
            Self::Plugin(_) => format!("the plugin is over {bytes} bytes (`--max-plugin-bytes`)"),
        }
    }
}

/// Says that an event's data is over `max` bytes.
pub(in crate::api) fn data_exceeded(max: usize) -> String {
    format!("the event's data is over {max} bytes (`--max-event-bytes`)")
}
