//! Looping plugins hold up only their own deliveries, however many of their calls wait.
//!
//! These tests assert the order in which calls get a thread. `bench/neighbours loops` measures the latency.

use std::fmt::Write as _;

use futures_util::StreamExt;
use http::Method;
use posthaste_tests::{Client, Home, Process, Receiver, guest, until};
use serde_json::json;

use super::subscribe;
use crate::metrics::Scrape;
use crate::surviving::crowds::open_files;

/// Events of each neighbour.
const EVENTS: usize = 25;

/// `companies` with `plugins` looping plugins each, all of them different, and `queued` events for them together.
struct Attack {
    companies: usize,
    plugins: usize,
    queued: usize,
    /// How long one call of a looping plugin lasts.
    deadline: &'static str,
}

/// A host under attack, with webhooks that do no harm: its neighbours.
struct AttackedHost {
    process: Process,
    receiver: Receiver,
    neighbours: Vec<Client>,
    _home: Home,
}

impl AttackedHost {
    /// Starts the host and queues the looping calls. One neighbour has a plugin, one has none, and one is the only hostile
    /// company itself, which has a harmless plugin beside its looping ones. Of several hostile companies each uses up the
    /// attempts that it may have in flight, which it shares with its own harmless plugin.
    async fn start(attack: &Attack) -> Self {
        // The number of concurrent attempts depends on this limit.
        open_files(4096);
        let (home, receiver) = (Home::new().await, Receiver::start().await);
        // One attempt for each event, so that the calls can be counted.
        let deadline = format!("--plugin-deadline={}", attack.deadline);
        let process = Process::serve(&home, &["--retry-schedule=1h", &deadline]).await;
        let mut hostile = Vec::new();
        for number in 0..attack.companies {
            hostile.push(process.company(&format!("hostile-{number}")).await);
        }
        let mut neighbours = vec![process.company("without-plugin").await, process.company("with-plugin").await];
        neighbours.extend((attack.companies == 1).then(|| hostile[0].clone()));
        for (number, neighbour) in neighbours.iter().enumerate() {
            let plugin = (number > 0).then_some("innocent");
            if plugin.is_some() {
                neighbour.upload("innocent", &guest("pass")).await.expect(201);
            }
            subscribe(neighbour, &receiver, "innocent", plugin).await;
        }
        for (number, client) in hostile.iter().enumerate() {
            for plugin in 0..attack.plugins {
                let name = format!("loop-{plugin}");
                client.upload(&name, &looping(number * attack.plugins + plugin)).await.expect(201);
                let hook =
                    json!({"type": name, "target_url": receiver.url("/"), "plugin": name, "max_in_flight": 1024});
                client.subscribe(&hook).await;
            }
        }
        let host = Self { process, receiver, neighbours, _home: home };
        host.queue(attack, &hostile).await;
        host
    }

    async fn queue(&self, attack: &Attack, hostile: &[Client]) {
        let queue = async |number: usize| {
            let event_type = format!("loop-{}", number / attack.companies % attack.plugins);
            hostile[number % attack.companies].publish(&event_type, &json!(number)).await;
        };
        futures_util::stream::iter(0..attack.queued).for_each_concurrent(16, queue).await;
    }

    /// Waits until there are more calls than threads, and returns the number of those without a thread.
    async fn calls_waiting(&self) -> f64 {
        let threads = std::thread::available_parallelism().unwrap().get() as f64 + 1.0;
        until("more calls wait than there are threads", || async {
            let in_flight = Scrape::of(&self.process.client).await.get("posthaste_attempts_in_flight");
            (in_flight >= 64.0_f64.max(2.0 * threads)).then_some(in_flight - threads)
        })
        .await
    }

    /// Returns the number of ended calls of looping plugins.
    async fn loops_ended(&self) -> f64 {
        Scrape::of(&self.process.client).await.sum("posthaste_transform_errors_total{plugin=\"loop-")
    }

    /// Publishes the events of every neighbour and waits until all have arrived.
    async fn neighbours_deliver(&self) {
        let lines = (0..EVENTS).fold(String::new(), |mut text, number| {
            writeln!(text, r#"{{"type":"innocent","data":{number}}}"#).unwrap();
            text
        });
        for neighbour in &self.neighbours {
            let headers = [("content-type", "application/x-ndjson")];
            let answer = neighbour.call(Method::POST, "/events/batch", &headers, lines.clone()).await.expect(202);
            assert_eq!(answer["accepted"], EVENTS);
        }
        self.receiver.wait_for(EVENTS * self.neighbours.len()).await;
    }
}

/// Returns a looping guest with bytes of its own, because the same bytes would be the same plugin.
fn looping(number: usize) -> Vec<u8> {
    let mut wasm = guest("loop");
    // A custom section: id 0, five bytes, a name of one byte, and three of content.
    wasm.extend([0, 5, 1, b'n', b'0', (number >> 7) as u8, (number & 0x7f) as u8]);
    wasm
}

#[tokio::test]
async fn looping_plugin_never_holds_the_last_thread() {
    // No loop ends while the test waits. If loops held every thread, no event of a plugin would arrive.
    let host = AttackedHost::start(&Attack { companies: 1, plugins: 1, queued: 300, deadline: "30m" }).await;
    host.calls_waiting().await;
    host.neighbours_deliver().await;
    assert_eq!((host.loops_ended().await, host.receiver.arrivals().len()), (0.0, EVENTS * 3));
}

#[tokio::test]
async fn calls_of_neighbours_pass_the_calls_of_twenty_looping_plugins() {
    pass(Attack { companies: 1, plugins: 20, queued: 300, deadline: "3s" }).await;
}

#[tokio::test]
async fn calls_of_neighbours_pass_more_loops_than_may_be_in_flight() {
    pass(Attack { companies: 5, plugins: 20, queued: 1200, deadline: "3s" }).await;
}

/// New plugins may take every thread until each has been slow once. Then a neighbour's call is next, before calls that have
/// waited for longer. In order of arrival, all of those would have ended first.
async fn pass(attack: Attack) {
    let host = AttackedHost::start(&attack).await;
    let (waiting, before) = (host.calls_waiting().await, host.loops_ended().await);
    host.neighbours_deliver().await;
    let passed = host.loops_ended().await - before;
    println!("{waiting} calls waited before those of the neighbours, and {passed} of them ended before");
    assert!(passed < waiting / 2.0, "{passed} of {waiting} loops ended before the neighbours' calls");
}
