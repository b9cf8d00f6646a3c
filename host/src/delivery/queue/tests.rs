//! Tests of the webhook queues.
