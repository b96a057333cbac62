//! What is done with a variant: the procedures of the scenarios.

mod arrivals;
mod concurrent;
mod crash;
mod items;
mod open;
mod pair;
mod reads;
mod replay;
mod resume;
mod retention;
mod session;
mod travel;
mod verify;
mod warm_up;
mod wire;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::pair::Opened;
use crate::cell::{Job, Stage};
use crate::error::Result;
use crate::measure::{Io, PhaseName, Recorder};
use crate::scenario::{EngineSettings, Model};
use crate::subject::redis::Watch;
use crate::subject::{self, Entry, Footprint, Ledger, Store, Variant};
use crate::workload::{self, Conversation, Conversations};

/// The storage of the variant.
const OWN: &str = "own";
/// The storage of the engine beside the floor.
const LEADER: &str = "leader";
/// Wrong answers after which a stage stops looking for more.
const MOST_WRONG: usize = 10;

/// One process's view of a cell.
#[derive(Debug)]
pub struct Bench<'a> {
    job: &'a Job,
    /// Storage by its name. What is in memory lasts as long as this.
    stores: BTreeMap<&'static str, Store>,
    /// What the server held before this, where it tells. Not where an engine beside the
    /// variant uses it as well.
    watch: Option<Watch>,
    /// What has been measured.
    pub recorder: Recorder,
    /// Traffic of the write stage.
    pub io: Option<Io>,
    /// What is at rest after the write stage.
    pub storage: Option<Footprint>,
    /// Wrong answers.
    pub wrong: Vec<String>,
}

impl<'a> Bench<'a> {
    /// A bench for this job. Nothing is opened yet.
    pub fn new(job: &'a Job) -> Self {
        Self {
            job,
            stores: BTreeMap::new(),
            watch: None,
            recorder: Recorder::new(),
            io: None,
            storage: None,
            wrong: Vec::new(),
        }
    }

    /// Does one stage.
    ///
    /// # Errors
    /// What the variant or the system says; wrong answers are not errors but in
    /// [`wrong`](Self::wrong).
    pub async fn run(&mut self, stage: Stage) -> Result<()> {
        self.perform(stage).await?;
        Box::pin(self.book_longest_command()).await
    }

    async fn perform(&mut self, stage: Stage) -> Result<()> {
        // Futures on the heap: in one another, theirs would be too deep for the compiler.
        match (&self.job.scenario.model, stage) {
            (Model::Replay(model), Stage::Write) => Box::pin(replay::write(self, model)).await,
            (Model::Replay(model), Stage::Read) => Box::pin(replay::read(self, model)).await,
            (Model::Replay(_), Stage::Verify) => {
                Box::pin(verify::every_state(self, usize::MAX)).await
            }
            (Model::SingleSession(model), Stage::Write) => {
                Box::pin(session::write(self, model)).await
            }
            (Model::SingleSession(model), Stage::Cold) => {
                Box::pin(session::cold(self, model)).await
            }
            (Model::SingleSession(model), Stage::Read) => {
                Box::pin(session::read(self, model)).await
            }
            (Model::SingleSession(model), Stage::Verify) => {
                Box::pin(verify::every_state(self, model.verified_states)).await
            }
            (Model::Retention(model), Stage::Write) => Box::pin(retention::run(self, model)).await,
            (Model::SingleSession(_), Stage::Wire) => Box::pin(wire::count(self)).await,
            (Model::ConcurrentLoad(_), Stage::Write) => Box::pin(concurrent::write(self, 0)).await,
            (Model::ConcurrentLoad(model), Stage::Read) => {
                Box::pin(concurrent::read(self, model)).await
            }
            (Model::LongTermStore(model), Stage::Fill) => Box::pin(items::fill(self, model)).await,
            (Model::LongTermStore(model), Stage::Write) => {
                Box::pin(items::write(self, model)).await
            }
            (Model::LongTermStore(model), Stage::Verify) => {
                Box::pin(items::verify(self, model)).await
            }
            (Model::LongTermStore(model), Stage::Cold) => Box::pin(items::cold(self, model)).await,
            (Model::OpenLoad(model), Stage::Write) => Box::pin(open::write(self, model)).await,
            (Model::Resume(model), Stage::Write) => Box::pin(resume::write(self, model)).await,
            (Model::Resume(model), Stage::Resume) => Box::pin(resume::resume(self, model)).await,
            (Model::TimeTravel(_), Stage::Write) => Box::pin(concurrent::write(self, 0)).await,
            (Model::TimeTravel(model), Stage::Travel) => Box::pin(travel::run(self, model)).await,
            (Model::Crash(_), Stage::Crash) => Box::pin(crash::write(self)).await,
            (Model::Crash(_), Stage::Recover) => Box::pin(crash::recover(self)).await,
            (Model::OpenLoad(_) | Model::Resume(_) | Model::Crash(_), Stage::Verify) => {
                Box::pin(verify::every_state(self, usize::MAX)).await
            }
            // What a model has no stage for is not asked of it.
            _ => Ok(()),
        }
    }

    /// The cell's storage of this name.
    fn store(&mut self, name: &'static str) -> Result<Store> {
        if let Some(store) = self.stores.get(name) {
            return Ok(store.clone());
        }
        let store = Store::provision(&self.job.site, name)?;
        self.stores.insert(name, store.clone());
        Ok(store)
    }

    /// Opens the variant on the cell's storage, as a phase.
    async fn provision(&mut self) -> Result<Opened> {
        let (own, leader) = (self.store(OWN)?, self.store(LEADER)?);
        self.open_stores(&own, &leader, &self.job.scenario.settings)
            .await
    }

    /// The same with other settings, and a count of what goes over the wire where there is
    /// one. The floor follows what the engine stores, so that is counted there.
    async fn provision_counted(&mut self, settings: &EngineSettings) -> Result<Opened> {
        let (mut own, leader) = (self.store(OWN)?, self.store(LEADER)?);
        if self.job.variant != Variant::Floor {
            own = own.through_wire().await?;
        }
        self.open_stores(&own, &leader, settings).await
    }

    async fn open_stores(
        &mut self,
        own: &Store,
        leader: &Store,
        settings: &EngineSettings,
    ) -> Result<Opened> {
        let open = self.recorder.begin(PhaseName::Provision);
        if self.watch.is_none() && self.job.variant != Variant::Floor {
            // Past the proxy, which ends with what it counts.
            self.watch = self.store(OWN)?.watch().await?;
        }
        let opened = open_on(self.job.variant, own, leader, settings).await;
        self.recorder.end(open);
        let opened = opened?;
        self.recorder.watch(opened.process());
        if let Some(about) = opened.about() {
            self.recorder.note(about);
        }
        Ok(opened)
    }

    /// The workload from its start.
    fn conversations(&self) -> Result<Conversations> {
        let honour_cuts = match &self.job.scenario.model {
            Model::Replay(model) => model.honour_compaction,
            _ => true,
        };
        workload::open(
            &self.job.scenario.workload,
            self.job.trace.as_ref(),
            honour_cuts,
        )
    }

    /// The only conversation of a workload that has one.
    fn conversation(&self) -> Result<Arc<Conversation>> {
        let first = self.conversations()?.next();
        let none = || crate::error::Error::Input("the workload has no conversation".into());
        first.ok_or_else(none)?.map(Arc::new)
    }

    /// What answers about `conversation` are compared with.
    fn oracle(&self, conversation: &Arc<Conversation>) -> Arc<Conversation> {
        if self.job.corrupt_oracle {
            Arc::new(Conversation::clone(conversation).corrupted())
        } else {
            conversation.clone()
        }
    }

    /// The ledger of the processes before this one, to go on with.
    fn resumed_ledger(&self) -> Result<Ledger> {
        Ledger::resume(&self.job.desk)
    }

    fn ledger(&self) -> Result<Ledger> {
        Ledger::create(&self.job.desk)
    }

    /// What the write stage acknowledged.
    fn acknowledged(&self) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
        Ledger::read(&self.job.desk)
    }

    /// Books a wrong answer, unless `outcome` is right.
    fn judge(&mut self, thread: &str, outcome: Result<(), String>) {
        let named = |what| format!("thread {}: {what}", chunkpoint_core::quote(thread));
        self.check(outcome.map_err(named));
    }

    /// Books a wrong answer that says what it is about, unless `outcome` is right.
    fn check(&mut self, outcome: Result<(), String>) {
        self.recorder.checked += 1;
        if let Err(what) = outcome
            && self.wrong.len() < MOST_WRONG
        {
            self.wrong.push(what);
        }
    }

    /// Whether enough is wrong.
    fn is_hopeless(&self) -> bool {
        self.wrong.len() >= MOST_WRONG
    }

    /// Closes the variant, and books what is at rest then.
    async fn footprint(&mut self, opened: &Opened) -> Result<()> {
        let open = self.recorder.begin(PhaseName::Footprint);
        self.io = opened.counts().then(|| opened.io());
        let closed = opened.close().await;
        self.book_server_memory().await?;
        let footprint = self.store(OWN)?.footprint().await;
        self.recorder.end(open);
        closed?;
        self.book_footprint(footprint?);
        Ok(())
    }

    /// The same, once the storage has given back what it can.
    async fn footprint_compacted(&mut self, opened: &Opened) -> Result<()> {
        self.footprint(opened).await?;
        let store = self.store(OWN)?;
        if let Some(by) = store.compact().await? {
            let before = self.storage.map(|storage| storage.bytes as f64);
            self.recorder.figure("at_rest_uncompacted_bytes", before);
            self.recorder
                .note(format!("at rest and live bytes are after {by}"));
            self.book_footprint(store.footprint().await?);
        }
        Ok(())
    }

    /// Books what is at rest.
    fn book_footprint(&mut self, footprint: Footprint) {
        self.storage = Some(footprint);
        self.recorder
            .figure("at_rest_bytes", footprint.bytes as f64);
        self.recorder.figure(
            "at_rest_allocated_bytes",
            footprint.allocated_bytes.map(|bytes| bytes as f64),
        );
        self.recorder
            .figure("at_rest_files", footprint.files.map(|files| files as f64));
    }

    /// Books what the server holds more than before.
    async fn book_server_memory(&mut self) -> Result<()> {
        if let Some(watch) = &self.watch {
            let used = watch.look().await?;
            self.recorder
                .figure("server_memory_bytes", used.memory_bytes as f64);
            self.recorder.figure(
                "server_append_only_bytes",
                used.append_only_bytes.map(|bytes| bytes as f64),
            );
        }
        Ok(())
    }

    /// Books the longest command that the server ran for this process.
    async fn book_longest_command(&mut self) -> Result<()> {
        if let Some(watch) = self.watch.take() {
            let longest = watch.look().await?.longest_command;
            self.recorder.figure(
                "server_longest_command_ns",
                longest.map(|longest| longest.as_nanos() as f64),
            );
        }
        Ok(())
    }

    /// Closes the variant as a phase.
    async fn teardown(&mut self, opened: &Opened) -> Result<()> {
        self.recorder
            .phase(PhaseName::Teardown, opened.close())
            .await
    }
}

/// Opens a variant; the floor with an engine beside it.
async fn open_on(
    variant: Variant,
    store: &Store,
    leader_store: &Store,
    settings: &EngineSettings,
) -> Result<Opened> {
    let subject = Box::pin(subject::open(variant, store, settings)).await?;
    let leader = match variant {
        Variant::Floor => {
            Some(Box::pin(subject::open(Variant::Default, leader_store, settings)).await?)
        }
        _ => None,
    };
    Ok(Opened::new(subject, leader))
}
