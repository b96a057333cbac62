//! Many loads at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use super::Bench;
use super::pair::Sessions;
use super::verify::compare;
use super::warm_up::warm_up;
use super::writer::{Thread, Writer, finish};
use crate::error::{Error, Result};
use crate::measure::PhaseName;
use crate::progress::Teller;
use crate::scenario::ConcurrentLoad;
use crate::subject::{Answer, Op};
use crate::workload::Conversation;

/// Commits every state of every conversation, but for the last `left_out` of each.
pub(super) async fn write(bench: &mut Bench<'_>, left_out: usize) -> Result<()> {
    warm_up(bench).await?;
    let opened = bench.provision().await?;
    let open = bench.recorder.begin(PhaseName::Measure);
    let ledger = Mutex::new(bench.ledger()?);
    let mut writer = Writer::new(&opened, true)?;
    let teller = Teller::new("put", bench.job.workload.conversations().messages);
    for (number, conversation) in (0..).zip(bench.conversations()?) {
        let conversation = Arc::new(conversation?);
        let mut thread = Thread::open(&opened, number, &conversation)?;
        for _ in left_out..conversation.len() {
            let put = writer.put(&mut thread, &ledger).await?;
            put.book("put", &mut bench.recorder)?;
            teller.at(writer.puts);
        }
    }
    let phase = bench.recorder.end(open).clone();
    writer.book(&mut bench.recorder, &phase);
    finish(ledger)?;
    bench.footprint(&opened).await
}

/// Loads the newest states, all clients at once, each round with an engine that has read
/// nothing before. What is booked is the response time: from the moment at which all were
/// to begin.
pub(super) async fn read(bench: &mut Bench<'_>, model: &ConcurrentLoad) -> Result<()> {
    warm_up(bench).await?;
    let conversations = bench.conversations()?;
    let conversations: Vec<Arc<Conversation>> = conversations
        .map(|one| one.map(|one| Arc::new(one.in_memory())))
        .collect::<Result<_>>()?;
    let mut last = HashMap::new();
    for entry in bench.acknowledged()? {
        let entry = entry?;
        last.insert(entry.thread, entry.step);
    }
    let clients = bench.job.scenario.load.clients;
    let teller = Teller::new("load", model.rounds as u64);
    let (mut wall, mut loads) = (Duration::ZERO, 0);
    for round in 0..model.rounds {
        let opened = bench.provision().await?;
        let mut waiting = Vec::new();
        for client in 0..clients {
            let number = client % conversations.len();
            let conversation = &conversations[number];
            let number = number as u32;
            let step = last.get(&number).copied();
            waiting.push(Client {
                sessions: opened.session(number, conversation)?,
                oracle: bench.oracle(conversation),
                step: step.ok_or_else(|| Error::Cell("a thread was not written".into()))?,
            });
        }
        let open = bench.recorder.begin(PhaseName::Measure);
        let start = Instant::now();
        let tasks = waiting.into_iter().map(|client| client.load(start));
        let answers = try_join_all(tasks.map(tokio::spawn)).await;
        wall += start.elapsed();
        let memory = bench.recorder.end(open).memory;
        let answers = answers.map_err(|e| Error::Cell(format!("a client died: {e}")))?;
        // Compared only now: it would take processors from those that still load.
        for answer in answers {
            let (client, took, answer) = answer?;
            loads += 1;
            bench.recorder.op(Op::Load.name(), took)?;
            let (_, outcome) = compare(&client.oracle, client.step, answer, usize::MAX);
            bench.judge(&client.oracle.id, outcome);
        }
        if round == 0 {
            let grown = memory.rss_growth_bytes().map(|bytes| bytes as f64);
            let name = format!("{}_rss_growth_bytes", Op::Load.prefix());
            bench.recorder.figure(&name, grown);
        }
        bench.teardown(&opened).await?;
        teller.at(round as u64);
    }
    let per_s = f64::from(loads) / wall.as_secs_f64();
    bench.recorder.figure("load_per_s", per_s);
    Ok(())
}

/// One that loads a state.
struct Client {
    sessions: Sessions,
    oracle: Arc<Conversation>,
    step: usize,
}

impl Client {
    /// Loads; gives the response time since `start`, and the answer.
    async fn load(mut self, start: Instant) -> Result<(Self, Duration, Option<Answer>)> {
        let answer = self.sessions.read(Op::Load, usize::MAX).await?;
        let took = answer.response.unwrap_or_else(|| start.elapsed());
        Ok((self, took, answer.value))
    }
}
