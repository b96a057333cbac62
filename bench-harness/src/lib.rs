//! The harness that measures Chunkpoint.
//!
//! A [scenario] says what is stored, which variants store it and what is
//! expected. Each variant is a [cell]: it runs in processes of its own, on fresh
//! storage, and every answer it gives is compared with an [oracle](workload). What
//! the [instruments](measure) say goes into one [result] a run; the [report] is
//! made from results and nothing else, and so is a [comparison](compare) of two.
//!
//! The modules, from the outside in: [`cli`] and [`run`] are the program,
//! [`cell`] starts processes, [`model`] is what they do, [`subject`] what they do
//! it to.

pub mod cell;
pub mod cli;
pub mod compare;
pub mod doctor;
pub mod error;
pub mod figures;
pub mod interrupt;
pub mod measure;
pub mod model;
pub mod progress;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
pub mod subject;
pub mod table;
pub mod workload;

pub use error::{Error, Result};
