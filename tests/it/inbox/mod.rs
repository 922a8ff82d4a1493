//! The inbox and its stores, with real files, disks and servers.
//!
//! # Edge cases
//!
//! Rules of the suite (`src/testing/inbox_suite.rs`) hold for both engines, alone and over two
//! processes.
//!
//! | | what | tests, rules of the suite |
//! |---|---|---|
//! | 1 | The 2xx comes after the commit, and the put outlives its client | `the_sender_is_answered_as_it_expects_and_only_after_the_commit`, `a_client_that_hangs_up_does_not_cancel_the_put` |
//! | 2 | Repetitions, of dead ones too, and other bodies under one key | `a_repetition_is_known_in_every_state`, `a_dead_delivery_lives_again_when_it_is_repeated_or_replayed`, `another_body_under_a_known_key_is_a_conflict` |
//! | 3 | The key outlives the delivery | `a_repetition_is_known_for_longer_than_senders_repeat_and_its_delivery_is_kept`, `each_kind_has_its_own_age` |
//! | 4 | The attempt is durable before the handler runs | `a_delivery_that_kills_its_process_is_dead_after_so_many_crashes`, `an_attempt_counts_before_it_runs`, `the_last_crash_is_death` |
//! | 5 | Lease, heartbeat, fencing | `a_lost_lease_cancels_the_handler_and_its_outcome_does_not_count`, `a_handler_may_take_longer_than_the_lease`, `only_the_holder_finishes` |
//! | 6 | Failures are told apart | `each_failure_is_told_apart_and_followed_by_its_own` |
//! | 7 | Order keys | `deliveries_of_one_key_are_handled_one_by_one_in_order`, `a_dead_head_blocks_its_line_if_it_should`, `a_line_moves_one_by_one_in_order` |
//! | 8 | Back-off | `delays_double_up_to_the_longest_and_are_spread_over_the_whole_of_it`, `the_default_lasts_a_day_on_average`, `a_retry_waits_for_its_time`, `a_replay_starts_anew_and_never_runs_beside` |
//! | 9 | After an outage | `an_outage_is_probed_by_few_and_neither_new_deliveries_nor_retries_starve_after_it`, `an_outage_is_probed_by_few_and_the_rest_come_back_in_rounds_that_double`, `neither_new_ones_nor_retries_starve` |
//! | 10 | Clocks | `a_clock_that_is_moved_by_a_day_either_way_loses_and_delays_nothing`, `a_clock_that_was_wrong_delays_nothing_for_long`, `a_process_that_was_stopped_itself_starts_watching_anew` |
//! | 11 | Replays | `a_replay_starts_anew_and_never_runs_beside`, `replays_of_all_dead_are_bounded`, `operators_see_and_decide_over_http` |
//! | 12 | Shutdown | `a_shutdown_under_load_lets_handlers_finish_and_gives_the_rest_back`, `what_is_given_back_is_not_counted` |
//! | 13 | Two versions, two processes | `what_an_earlier_version_stored_is_handled_and_what_a_later_one_stored_is_left_alone`, `a_newer_format_is_left_alone`, `a_second_process_on_the_file_is_waited_for_and_seen` |
//! | 14 | The store is slow | `a_store_that_hangs_is_answered_503_in_time_and_what_it_stored_is_known` |
//! | 15 | The store is full | `a_full_disk_refuses_at_once_lets_work_be_done_and_accepts_again_when_there_is_room`, `at_its_size_limit_it_refuses_and_still_completes_and_removes`, `a_full_store_is_answered_503_and_accepts_again_when_there_is_room`, `a_receiver_whose_postgres_has_a_full_disk_loses_nothing_it_acknowledged_and_accepts_once_there_is_room` |
//! | 16 | The body is larger than the store takes | `a_body_above_the_stores_limit_is_answered_413_and_not_503` |
//! | 17 | Damage | `a_flipped_bit_is_set_aside_with_its_reason_until_the_event_is_repeated`, `a_bit_flipped_under_postgres_is_set_aside_with_its_reason_until_the_event_is_repeated`, `a_page_that_cannot_be_read_sets_its_records_aside_and_the_others_go_on`, `a_key_rotates_and_neither_a_stranger_nor_a_checksum_passes_for_it` |
//! | 18 | What is never stored or shown | `the_handler_gets_what_arrived_with_what_was_proven`, `parameters_that_are_secrets_are_left_out`, `debug_shows_neither_body_nor_headers_nor_keys` |
//! | 19 | Ages and erasure | `each_kind_has_its_own_age`, `what_is_erased_is_gone_but_known`, `what_is_erased_leaves_no_bytes_in_the_file` |
//! | 20 | The user's transaction | `a_delivery_is_done_exactly_if_the_users_transaction_is_committed`, `what_fails_within_a_transaction_is_not_acknowledged` |
//! | 21 | Fairness | `a_tenant_with_a_backlog_does_not_delay_another_and_keeps_to_its_limit`, `lanes_take_turns_and_retries_leave_them` |
//! | 22 | Metrics | `depth_age_attempts_and_put_latency_are_metrics`, `numbers_are_told` |
//! | 23 | Settings that lose data | `a_server_that_answers_before_it_writes_is_refused_and_so_is_tls_that_is_not_there`, `a_full_disk_refuses_at_once_lets_work_be_done_and_accepts_again_when_there_is_room`, `the_file_system_is_that_of_the_nearest_mount_point` |
//! | 24 | Interactive senders | `an_interactive_request_gets_the_handlers_own_answer` |

#[cfg(feature = "sqlite")]
mod broken;
#[cfg(all(feature = "metrics", feature = "sqlite"))]
mod edges;
// Needs what the example needs.
#[cfg(all(
    feature = "client",
    feature = "jwt",
    feature = "memory-store",
    feature = "paypal",
    feature = "postgres",
    feature = "redis",
    feature = "sns",
    feature = "sqlite"
))]
mod gateway;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod nothing_lost;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_server;
#[cfg(feature = "sqlite")]
mod receiver;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(all(feature = "jwt", feature = "sqlite", feature = "testing-sns"))]
mod typed;

/// Each test of the table above is there.
#[test]
fn the_table_of_edge_cases_names_tests_that_are_there() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for place in ["tests/it/inbox", "src", "src/inbox", "src/inbox/sqlite", "src/testing"] {
        for entry in std::fs::read_dir(folder.join(place)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let rows = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut cases = Vec::new();
    for row in rows.filter(|row| row.starts_with(|start: char| start.is_ascii_digit())) {
        cases.extend(row.split(' ').next().unwrap().parse::<usize>());
        let names: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let is_test = sources.contains(&format!("fn {name}("));
            let is_rule = sources.contains(&format!("rule(\"{name}\")"));
            assert!(is_test || is_rule, "{name} is nowhere");
        }
    }
    assert_eq!(cases, Vec::from_iter(1..=24));
}
