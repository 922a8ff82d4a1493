//! An [`InboxStore`] as an object. Its calls wait for a disk or a network, so boxing them costs
//! nothing that counts.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use crate::text::Text;

use super::record::Entry;
use super::store::{
    CrashPolicy, DeliveryId, Detail, Erased, Filter, InboxError, InboxStore, Lease, Listing, Outcome, Page, Pruned,
    Put, Reaped, Replay, Retention, Stats, Take, Taken, Token,
};

pub(super) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, InboxError>> + Send + 'a>>;

macro_rules! erased {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        pub(super) trait ErasedStore: Send + Sync {
            fn largest_record(&self) -> usize;
            fn woken(&self, generation: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
            $(fn $name(&self, $($argument: $type),*) -> StoreFuture<'_, $output>;)*
        }

        impl<S: InboxStore> ErasedStore for S {
            fn largest_record(&self) -> usize {
                S::largest_record(self)
            }

            fn woken(&self, generation: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
                Box::pin(S::woken(self, generation))
            }

            $(fn $name(&self, $($argument: $type),*) -> StoreFuture<'_, $output> {
                Box::pin(S::$name(self, $($argument),*))
            })*
        }
    };
}

erased! {
    put(entry: Entry) -> Put;
    take(take: Take) -> Taken;
    extend(tokens: Vec<Token>, lease: Duration) -> Vec<Lease>;
    finish(token: Token, outcome: Outcome) -> bool;
    reap(policy: CrashPolicy) -> Reaped;
    set_paused(scope: Text, paused: bool) -> ();
    stats(scope: Text) -> Stats;
    list(filter: Filter, page: Page) -> Listing;
    get(id: DeliveryId) -> Option<Detail>;
    replay(id: DeliveryId, force: bool, now: SystemTime) -> Replay;
    replay_dead(filter: Filter, limit: u32, now: SystemTime) -> u32;
    cancel(id: DeliveryId, now: SystemTime) -> bool;
    erase(filter: Filter, limit: u32, now: SystemTime) -> Erased;
    prune(retention: Retention, limit: u32, now: SystemTime) -> Pruned;
    health() -> ();
}
