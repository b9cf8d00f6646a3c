//! While hundreds of looping transforms are queued, a neighbour's deliveries stay quick.
//!
//! One test: it measures, so it shares the machine with as little as it can, and takes its cases one after the other.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use posthaste_tests::{Client, Home, Process, Receiver, guest};
use serde_json::json;

use super::subscribe;

const MEDIAN: Duration = Duration::from_millis(150);
const WORST: Duration = Duration::from_secs(1);

/// Deliveries that are timed of each neighbour.
const TIMED: usize = 25;

/// `companies` with `plugins` looping plugins each, all of them different, and `queued` events for them together.
struct Attack {
    companies: usize,
    plugins: usize,
    queued: usize,
}

#[tokio::test]
async fn a_neighbour_stays_quick_while_hundreds_of_loops_are_queued() {
    for attack in [
        Attack { companies: 1, plugins: 1, queued: 300 },
        Attack { companies: 1, plugins: 20, queued: 300 },
        // More than may be in flight at all.
        Attack { companies: 5, plugins: 20, queued: 1200 },
    ] {
        withstood(attack).await;
    }
}

async fn withstood(Attack { companies, plugins, queued }: Attack) {
    let folder = Home::new().await;
    // What has looped is tried again soon, so that the queue never runs dry.
    let schedule = ["1s"; 50].join(",");
    let process = Process::serve(&folder, &["--retry-schedule", &schedule]).await;
    let receiver = Receiver::start().await;
    let mut hostile = Vec::new();
    for number in 0..companies {
        let client = process.company(&format!("hostile-{number}")).await;
        for plugin in 0..plugins {
            let name = format!("loop-{plugin}");
            client.upload(&name, &looping(number * plugins + plugin)).await.expect(201);
            subscribe(&client, &receiver, &name, Some(&name)).await;
        }
        hostile.push(client);
    }
    let with_plugin = neighbour(&process, &receiver, "with", true).await;
    let without = neighbour(&process, &receiver, "without", false).await;
    // A plugin that does no harm, of a company that has one that does. What a company may have in flight it shares.
    let same_house = &hostile[0];
    same_house.upload("innocent", &guest("pass")).await.expect(201);
    subscribe(same_house, &receiver, "innocent", Some("innocent")).await;
    let mut neighbours = vec![("with a plugin", &with_plugin), ("without", &without)];
    neighbours.extend((companies == 1).then_some(("in the same house", same_house)));
    let hostile: &[Client] = &hostile;
    let queue = async |number: usize| {
        let event_type = format!("loop-{}", number / companies % plugins);
        hostile[number % companies].publish(&event_type, &json!(number)).await;
    };
    futures_util::stream::iter(0..queued).for_each_concurrent(16, queue).await;
    let attack = format!("{companies} companies, {plugins} looping plugins each, {queued} queued");
    for (who, client) in neighbours {
        let mut times = Vec::new();
        for number in 0..TIMED {
            times.push(timed(client, &receiver, &format!("{who} {number}")).await);
        }
        times.sort();
        let (median, worst) = (times[TIMED / 2], times[TIMED - 1]);
        println!("{attack}; neighbour {who}: median {median:?}, worst {worst:?}");
        assert!(median < MEDIAN, "{attack}; neighbour {who}: {times:?}");
        assert!(worst < WORST, "{attack}; neighbour {who}: {times:?}");
    }
}

/// Returns a looping guest with bytes of its own, because the same bytes would be the same plugin.
fn looping(number: usize) -> Vec<u8> {
    let mut wasm = guest("loop");
    // A custom section: id 0, five bytes, a name of one byte, and three of content.
    wasm.extend([0, 5, 1, b'n', b'0', (number >> 7) as u8, (number & 0x7f) as u8]);
    wasm
}

async fn neighbour(process: &Process, receiver: &Receiver, name: &str, plugin: bool) -> Client {
    let client = process.company(name).await;
    if plugin {
        client.upload("innocent", &guest("pass")).await.expect(201);
    }
    subscribe(&client, receiver, "innocent", plugin.then_some("innocent")).await;
    client
}

/// From the event's publication to its arrival.
async fn timed(client: &Client, receiver: &Receiver, text: &str) -> Duration {
    let begun = Instant::now();
    client.publish("innocent", &json!(text)).await;
    let expected = json!(text).to_string();
    receiver.wait_for_one(|arrival| arrival.text() == expected).await;
    begun.elapsed()
}
