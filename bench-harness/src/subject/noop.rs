//! The harness without storage.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Answer, Change, Counted, Session, Subject};
use crate::error::Result;
use crate::measure::Io;
use crate::workload::Conversation;

/// Stores nothing and answers from the oracle: everything that remains is the
/// harness's own time and memory.
#[derive(Debug)]
pub(super) struct NoOp;

struct Thread {
    conversation: Arc<Conversation>,
    puts: usize,
}

impl Counted for NoOp {
    fn io(&self) -> Io {
        Io::default()
    }
}

#[async_trait]
impl Subject for NoOp {
    fn session(&self, _: u32, conversation: &Arc<Conversation>) -> Result<Box<dyn Session>> {
        Ok(Box::new(Thread {
            conversation: conversation.clone(),
            puts: 0,
        }))
    }

    async fn maintain(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

impl Thread {
    fn answer(&self, step: usize, most: usize) -> Answer {
        let conversation = &self.conversation;
        let wanted: Vec<_> = if most == usize::MAX {
            conversation.arrange(conversation.state(step))
        } else {
            let mut tail: Vec<_> = conversation.tail(step).take(most).collect();
            tail.reverse();
            tail
        };
        Answer::State {
            messages: wanted
                .into_iter()
                .map(|at| conversation.message(at))
                .collect(),
            scratch: conversation.scratch(step),
        }
    }

    fn last(&self) -> Option<usize> {
        // It has all that was put; after a reopening, all there could be.
        let all = self.conversation.len().checked_sub(1);
        self.puts.checked_sub(1).or(all)
    }
}

#[async_trait]
impl Session for Thread {
    async fn put(&mut self, _: Change) -> Result<String> {
        self.puts += 1;
        Ok((self.puts - 1).to_string())
    }

    async fn latest(&mut self) -> Result<Option<Answer>> {
        Ok(self.last().map(|step| self.answer(step, usize::MAX)))
    }

    async fn tail(&mut self, count: usize) -> Result<Option<Answer>> {
        Ok(self.last().map(|step| self.answer(step, count)))
    }

    async fn at(&mut self, id: &str) -> Result<Option<Answer>> {
        Ok(id.parse().ok().map(|step| self.answer(step, usize::MAX)))
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        // It keeps as many as were put; after a reopening, all there could be.
        let kept = if self.puts > 0 {
            self.puts
        } else {
            self.conversation.len()
        };
        Ok((0..kept).rev().map(|step| step.to_string()).collect())
    }
}
