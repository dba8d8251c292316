//! Building blocks of figures: atomics that one thread changes and others read, and the macro that
//! defines a struct of them once, with its snapshot. The figures themselves are where they are
//! counted, most in [`crate::stats`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A total since the start: it only grows. One thread adds and others read, without ordering.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that rises and falls. One thread sets it and others read it, without ordering.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a value only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Counter`]
    Counter,
    /// [`Gauge`]
    Gauge,
}

/// A value's unit; the field's name contains the same word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `bytes`
    Bytes,
    /// `permille`, thousandths of the whole.
    Permille,
}

/// One value of a snapshot, with its definition.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// Its documentation.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// `None`: it counts things.
    pub unit: Option<Unit>,
    /// Its value.
    pub value: u64,
}

/// Defines a struct of [`Counter`]s and [`Gauge`]s with its serialisable snapshot. Each row is a
/// statistic: its description, shown to users, then name, kind and unit.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $snapshot:ident {
        $($(#[doc = $help:literal])+ $field:ident: $kind:ident $(in $unit:ident)?,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[doc = $help])+ pub $field: $crate::counters::$kind,)+ }

        #[doc = concat!("The values of [`", stringify!($name), "`] at one moment.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct $snapshot { $($(#[doc = $help])+ pub $field: u64,)+ }

        impl $name {
            /// The present values.
            pub fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.get(),)+ }
            }
        }

        impl $snapshot {
            /// All values, each with its definition.
            pub fn fields(&self) -> Vec<$crate::counters::Field> {
                vec![$($crate::counters::Field {
                    name: stringify!($field),
                    help: concat!($($help),+).trim_ascii(),
                    kind: $crate::counters::Kind::$kind,
                    unit: None$(.or(Some($crate::counters::Unit::$unit)))?,
                    value: self.$field,
                },)+]
            }
        }
    };
}
pub(crate) use counters;

/// A value that seldom changes: set on change, read by others. It is not set for each frame or
/// packet.
#[derive(Debug, Default)]
pub struct Latest<T>(Mutex<T>);

impl<T: Clone> Latest<T> {
    /// With its first value.
    pub fn new(value: T) -> Latest<T> {
        Latest(Mutex::new(value))
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// Takes the current value, leaving the default.
    pub fn take(&self) -> T
    where
        T: Default,
    {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The current value.
    pub fn get(&self) -> T {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
