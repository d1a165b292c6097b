//! Kept connections: how long, for how many messages, and what a reload does to them.

use std::sync::Arc;
use std::time::Duration;

use postbud::delivery::Verdict;
use postbud::route::{Caps, Route};

use super::messages::{attempt, delivery, message, route};
use super::script::{Server, Step, hear, hello, takes_one};

fn good_for(messages: usize) -> Vec<Step> {
    let mut script = hello(&[]);
    (0..messages).for_each(|_| script.extend(takes_one()));
    script
}

async fn deliver(delivery: &postbud::delivery::Delivery, route: &Arc<Route>) {
    let outcome = attempt(delivery, route, &message(&["x@test.net"])).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
}

#[tokio::test]
async fn a_connection_serves_as_many_messages_as_the_route_allows() {
    let script = [good_for(3), vec![hear("QUIT")]].concat();
    let server = Server::start(vec![script.clone(), script]).await;
    let mut route = route(server.address);
    route.caps = Caps { messages_per_connection: 3, ..Caps::default() };
    let (delivery, route) = (delivery(), Arc::new(route));
    for _ in 0..6 {
        deliver(&delivery, &route).await;
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_waited_too_long_is_not_used_again() {
    let server = Server::start(vec![[good_for(1), vec![hear("QUIT")]].concat(), good_for(1)]).await;
    let mut route = route(server.address);
    route.caps = Caps { idle: Duration::from_millis(50), ..Caps::default() };
    let (delivery, route) = (delivery(), Arc::new(route));
    deliver(&delivery, &route).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    deliver(&delivery, &route).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_changed_route_gets_new_connections_and_a_gone_one_says_quit() {
    let quits = || [good_for(1), vec![hear("QUIT")]].concat();
    let server = Server::start(vec![quits(), quits(), quits()]).await;
    let (delivery, first) = (delivery(), Arc::new(route(server.address)));
    deliver(&delivery, &first).await;
    delivery.retain(&[Arc::new((*first).clone())]);
    assert_eq!(delivery.idle_connections(), 1, "an equal route keeps its connections");
    let changed = Arc::new(Route { message_size: 1 << 20, ..(*first).clone() });
    deliver(&delivery, &changed).await;
    assert_eq!((server.connections(), delivery.idle_connections()), (2, 1));
    delivery.retain(&[]);
    assert_eq!(delivery.idle_connections(), 0);
    deliver(&delivery, &changed).await;
    delivery.shutdown().await;
    assert_eq!(delivery.idle_connections(), 0);
    let said_quit = async {
        while server.heard().iter().filter(|lines| lines.last().is_some_and(|line| line == "QUIT")).count() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), said_quit).await.expect("all three connections heard QUIT");
}

#[tokio::test]
async fn open_connections_are_counted() {
    let server = Server::start(vec![good_for(1)]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    deliver(&delivery, &route).await;
    assert_eq!(delivery.counters().open.get(), 1);
    delivery.shutdown().await;
    assert_eq!(delivery.counters().open.get(), 0);
}
