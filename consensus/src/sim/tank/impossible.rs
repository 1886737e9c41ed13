//! What nodes and clients count and the node tank cannot make happen, or may miss: why, and the
//! tests that make it happen and look at what counts it. `bench/tests/excuses.rs` checks that they
//! do.

/// A test: its file and its name.
type Test = (&'static str, &'static str);

/// Name of an item, why runs do not reach it, and the tests that do.
pub(super) type Excuse = (&'static str, &'static str, &'static [Test]);

const OF_SYSTEM: &str = "only an operating system refuses it";

const OF_BIRTH: &str = "directories are left alone until something is committed";

const OF_TWO_HISTORIES: &str = "no member breaks the rules of the log";

const OF_DIVERGENCE: &str = "all services answer alike unless a run is asked for another";

const OF_CROWDS: &str = "a run has few clients and strangers";

const OF_LENGTHS: &str = "nobody in a run asks for more than its client takes";

const OF_ANSWERS: &str = "no service answers with more than its clients take";

const OF_REFUSALS: &str = "no request of a run is too long, and none is refused as applied";

const OF_NUMBERS: &str = "no member names an applied request that its log does not have";

const NEVER_SENT: &str = "no member of this version refuses with it";

const OF_GARBLED: &str = "datagrams between clients and members carry no checksum of their own and \
                          are not damaged here";

const OF_SNAPSHOTS: &str = "the service writes its part of a snapshot as it should";

const OF_BUDGETS: &str = "budgets hold more than a run writes";

const NO_THIRD_SNAPSHOT: Test = (
    "consensus/tests/trimming.rs",
    "where_the_budget_holds_no_three_snapshots_the_older_of_two_goes_first",
);

const LEFT_ANSWERS: Test = (
    "consensus/tests/trimming.rs",
    "who_leaves_answers_for_too_long_is_told_that_they_are_kept_no_longer",
);

const FORGOTTEN_ANSWERS: Test = (
    "consensus/tests/trimming.rs",
    "a_process_that_has_forgotten_answers_which_are_kept_no_longer_is_told_so",
);

const WRONG_SNAPSHOT: Test = (
    "consensus/tests/snapshots.rs",
    "a_service_that_writes_its_part_wrongly_has_no_snapshot_and_goes_on",
);

const GIVEN_UP_SNAPSHOT: Test = (
    "consensus/tests/snapshots.rs",
    "who_is_to_lead_gives_up_its_snapshot_and_answers",
);

const STARTED_AGAIN: Test = (
    "consensus/tests/divergence.rs",
    "a_member_that_diverged_executes_again_from_before_when_it_is_started_again",
);

const REPLACED_LOG: Test = (
    "consensus/tests/catch_up.rs",
    "a_follower_that_is_up_and_cut_off_is_caught_up_as_well",
);

const LACKING_ANSWERS: Test = (
    "consensus/tests/catch_up.rs",
    "who_lacks_answers_that_clients_are_owed_does_not_lead_and_another_one_delivers_them",
);

const DIFFERING_SNAPSHOTS: Test = (
    "consensus/tests/snapshot_exchange.rs",
    "of_two_that_differ_neither_is_fetched_nor_stops_and_all_say_so",
);

const MAKING_WAY: Test = (
    "consensus/tests/snapshot_exchange.rs",
    "what_a_member_takes_itself_comes_before_what_it_fetches",
);

const REDRAWN: Test = (
    "consensus/tests/formation_model.rs",
    "a_directory_that_was_emptied_before_all_agreed_makes_the_first_member_draw_again",
);

const PORT: Test = (
    "consensus/tests/port_troubles.rs",
    "each_trouble_of_either_port_is_counted_and_told_once_with_its_number",
);

const PARTED_BEFORE: Test = (
    "consensus/tests/two_histories.rs",
    "a_member_of_another_history_neither_joins_acknowledges_nor_cuts_and_both_sides_say_so",
);

const PARTED_AFTER: Test = (
    "consensus/tests/two_histories.rs",
    "a_member_whose_log_parts_after_it_joined_is_excluded_and_says_why_and_what_to_do",
);

const MANY_OPENINGS: Test = (
    "consensus/tests/session_bounds.rs",
    "a_member_that_applies_many_openings_at_once_waits_for_its_clients_side_to_take_the_news",
);

const MANY_ORDERS: Test = (
    "consensus/tests/service_threads.rs",
    "a_member_applies_no_more_than_its_services_queue_takes",
);

const UNTOLD: Test = (
    "consensus/tests/consensus_module/hand_over.rs",
    "a_leader_hears_nobody_whom_it_did_not_tell",
);

const LATE_WORD: Test = (
    "consensus/tests/hand_over.rs",
    "who_is_told_late_to_stand_leaves_the_leader_alone",
);

const ODD_WORDS: Test = (
    "consensus/tests/consensus_module/regressions.rs",
    "a_second_leader_and_an_acknowledgement_beyond_the_log_are_counted",
);

const CONTRADICTION: Test = (
    "consensus/tests/hostile_leader.rs",
    "frames_that_contradict_the_leaders_list_are_refused_and_counted",
);

const FOLLOWER_DIFFERS: Test = (
    "consensus/tests/divergence.rs",
    "a_follower_that_differs_alone_stops_and_nobody_else_notices",
);

const ALL_DIFFER: Test = (
    "consensus/tests/divergence.rs",
    "where_all_three_differ_ingress_closes_and_says_so",
);

const LEADER_DIFFERS: Test = (
    "consensus/tests/divergence.rs",
    "a_leader_that_differs_alone_stops_before_its_answer_leaves",
);

const LEARNER_DIFFERS: Test = (
    "consensus/tests/divergence.rs",
    "a_learners_answer_decides_nothing_and_is_counted",
);

const NO_EGRESS_MEMORY: Test = (
    "consensus/src/session/egress_channels/tests.rs",
    "a_stream_that_cannot_be_made_is_told_with_its_client",
);

const MANY_SETUPS: Test = (
    "consensus/tests/crowds.rs",
    "sockets_that_only_send_setups_keep_nobody_out",
);

const MANY_STRANGERS: Test = (
    "consensus/tests/crowds.rs",
    "five_thousand_connects_from_strangers_cost_healthy_clients_nothing",
);

const MANY_CONNECTS: Test = (
    "consensus/tests/crowds.rs",
    "every_refused_connect_is_answered",
);

const NO_PLACE: Test = (
    "consensus/tests/crowds.rs",
    "connects_that_find_no_place_to_be_answered_from_are_counted_once_each",
);

const LONG_MESSAGE: Test = (
    "consensus/tests/odd_streams.rs",
    "a_message_longer_than_any_that_is_taken_is_counted",
);

const LONG_REQUEST: Test = (
    "consensus/tests/lengths.rs",
    "a_request_longer_than_the_cluster_takes_is_refused_with_that_reason_however_long",
);

const REASON: Test = (
    "consensus/src/notice/sessions.rs",
    "each_reason_of_a_refusal_is_counted_by_itself",
);

const GARBLED_MESSAGE: Test = (
    "client/src/cluster_session/tests.rs",
    "control_messages_wait_for_nobody_and_responses_for_the_application",
);

const CLIENT_PORT: Test = (
    "client/tests/system_refusals.rs",
    "what_a_port_could_not_do_is_told_with_its_kind_number_and_peer",
);

const GARBLED_LIST: Test = (
    "client/src/cluster_session/tests.rs",
    "a_list_of_addresses_that_cannot_be_read_is_told",
);

const NO_MEMORY: Test = (
    "client/tests/system_refusals.rs",
    "a_stream_that_finds_no_memory_is_told_and_tried_again",
);

const LONG_ANSWER: Test = (
    "consensus/tests/connects.rs",
    "a_client_says_that_an_answer_was_longer_than_it_takes",
);

const UNOFFERED: Test = (
    "client/src/cluster_session/tests.rs",
    "an_applied_number_that_was_never_offered_ends_the_session",
);
const LATE_REFUSAL: Test = (
    "client/src/cluster_session/tests/refusals.rs",
    "a_refusal_of_what_is_not_under_way_any_more_changes_nothing",
);

const LONE_PAD: Test = (
    "archive/tests/crash_recovery.rs",
    "a_leadership_term_that_begins_with_a_pad_begins_at_the_pad_and_counts_only_with_its_entry",
);

const LOST_SEGMENT: Test = (
    "archive/tests/log_rot.rs",
    "a_segment_that_is_gone_among_what_is_erased_is_passed_over",
);

const STALLED_LEADER: Test = (
    "consensus/tests/disk_stalls.rs",
    "effects_wait_for_the_stalled_disk_of_their_leader_and_leave_once_it_is_back",
);

const MANY_TERMS: Test = (
    "consensus/tests/consensus_module/joining.rs",
    "a_list_of_many_terms_comes_page_by_page",
);

const STUCK_FOLLOWER: Test = (
    "consensus/tests/rotten_logs.rs",
    "a_leader_that_cannot_read_its_rotten_log_says_so_and_another_fills_the_follower_up",
);

const OUTLIVED_CUT: Test = (
    "consensus/tests/consensus_module/joining.rs",
    "a_truncation_that_is_under_way_is_finished_before_another_leader_is_joined",
);

const CUT_AND_SILENCE: Test = (
    "consensus/tests/consensus_module/joining.rs",
    "nobody_stands_while_its_log_is_being_cut",
);

const LOST_RECEIVER: Test = (
    "consensus/tests/unlucky_moments.rs",
    "a_sender_pushed_out_of_reach_by_a_damaged_status_message_comes_back",
);

const SILENT_FOLLOWERS: Test = (
    "consensus/tests/output_reports.rs",
    "answers_that_wait_for_other_members_outputs_are_told_with_whom_they_wait_for",
);

const LATE_PACKET: Test = (
    "consensus/tests/odd_streams.rs",
    "a_status_message_that_cannot_be_of_an_egress_stream_is_counted",
);

const LATE_FRAME: Test = (
    "consensus/tests/odd_streams.rs",
    "a_frame_that_has_no_place_in_its_ingress_stream_is_counted",
);

const NO_ROOM: Test = (
    "consensus/tests/lengths.rs",
    "a_direct_response_for_which_its_stream_has_no_room_is_lost_and_counted",
);

/// What no run may reach.
pub(super) const IMPOSSIBLE: &[Excuse] = &[
    ("FormationRedraws", OF_BIRTH, &[REDRAWN]),
    ("FormationTakesLaterDraw", OF_BIRTH, &[REDRAWN]),
    ("ApplyWaitsForNews", OF_CROWDS, &[MANY_OPENINGS]),
    ("ApplyWaitsForService", OF_CROWDS, &[MANY_ORDERS]),
    ("node notice SendToMemberRefused", OF_SYSTEM, &[PORT]),
    ("node notice PortReceiveFailed", OF_SYSTEM, &[PORT]),
    ("node notice PortDatagramTooLong", OF_SYSTEM, &[PORT]),
    ("node notice PortUnknownSource", OF_SYSTEM, &[PORT]),
    ("node notice PortRingFailed", OF_SYSTEM, &[PORT]),
    ("node notice PortNotTaken", OF_SYSTEM, &[PORT]),
    (
        "node notice MemberExcluded",
        OF_TWO_HISTORIES,
        &[PARTED_BEFORE],
    ),
    (
        "node notice ExcludedByLeader",
        OF_TWO_HISTORIES,
        &[PARTED_AFTER],
    ),
    ("node notice SecondLeader", OF_TWO_HISTORIES, &[ODD_WORDS]),
    ("node notice AckBeyondLog", OF_TWO_HISTORIES, &[ODD_WORDS]),
    (
        "node notice UntoldStanding",
        "no member says that it was told to stand when it was not",
        &[UNTOLD],
    ),
    (
        "node notice LogFrameContradicts",
        OF_TWO_HISTORIES,
        &[CONTRADICTION],
    ),
    (
        "node notice FollowerLogDiffers",
        OF_TWO_HISTORIES,
        &[PARTED_BEFORE],
    ),
    (
        "node notice LeaderLogDiffers",
        OF_TWO_HISTORIES,
        &[PARTED_BEFORE],
    ),
    (
        "node notice MemberDiverged",
        OF_DIVERGENCE,
        &[FOLLOWER_DIFFERS],
    ),
    ("RetentionClose", OF_BUDGETS, &[LEFT_ANSWERS]),
    ("AnswersGone", OF_BUDGETS, &[FORGOTTEN_ANSWERS]),
    ("node notice SessionHeldLog", OF_BUDGETS, &[LEFT_ANSWERS]),
    ("SnapshotStruck", OF_DIVERGENCE, &[STARTED_AGAIN]),
    ("node notice OutputContested", OF_DIVERGENCE, &[ALL_DIFFER]),
    ("node notice VoidResponse", OF_DIVERGENCE, &[LEADER_DIFFERS]),
    (
        "node notice RequestWhileContested",
        OF_DIVERGENCE,
        &[ALL_DIFFER],
    ),
    ("node notice SendToClientRefused", OF_SYSTEM, &[PORT]),
    ("node notice EgressMemory", OF_SYSTEM, &[NO_EGRESS_MEMORY]),
    ("node notice HalfOpenDisplaced", OF_CROWDS, &[MANY_SETUPS]),
    (
        "node notice StrangerDisplaced",
        OF_CROWDS,
        &[MANY_STRANGERS],
    ),
    ("node notice SessionLimit", OF_CROWDS, &[MANY_CONNECTS]),
    ("node notice ConnectAwaitsChannel", OF_CROWDS, &[NO_PLACE]),
    ("node notice AnswerDisplaced", OF_CROWDS, &[NO_PLACE]),
    (
        "node notice IngressMessageTooLong",
        OF_LENGTHS,
        &[LONG_MESSAGE],
    ),
    (
        "node notice SnapshotUseless",
        OF_SNAPSHOTS,
        &[WRONG_SNAPSHOT],
    ),
    ("node notice RequestTooLong", OF_LENGTHS, &[LONG_REQUEST]),
    ("node notice RequestBackPressured", NEVER_SENT, &[REASON]),
    ("node notice RequestAlreadyApplied", NEVER_SENT, &[REASON]),
    ("node notice RequestOfOtherTerm", NEVER_SENT, &[REASON]),
    ("node notice RequestWhileDraining", NEVER_SENT, &[REASON]),
    (
        "client notice DamagedMessage",
        OF_GARBLED,
        &[GARBLED_MESSAGE],
    ),
    ("client notice SendRefused", OF_SYSTEM, &[CLIENT_PORT]),
    ("client notice PortTrouble", OF_SYSTEM, &[CLIENT_PORT]),
    (
        "client notice DamagedEndpoints",
        OF_GARBLED,
        &[GARBLED_LIST],
    ),
    ("client notice IngressRefused", OF_SYSTEM, &[NO_MEMORY]),
    ("client notice ImpossibleNumber", OF_NUMBERS, &[UNOFFERED]),
    ("client notice MessageTooLong", OF_ANSWERS, &[LONG_ANSWER]),
    (
        "client counter messages_too_long",
        OF_ANSWERS,
        &[LONG_ANSWER],
    ),
    (
        "client counter messages_invalid",
        OF_GARBLED,
        &[GARBLED_MESSAGE],
    ),
    (
        "client counter endpoints_invalid",
        OF_GARBLED,
        &[GARBLED_LIST],
    ),
    (
        "client counter numbers_impossible",
        OF_NUMBERS,
        &[UNOFFERED],
    ),
    ("client counter refusals_late", OF_REFUSALS, &[LATE_REFUSAL]),
];

/// What thousands of short runs may miss.
pub(super) const RARE: &[Excuse] = &[
    (
        "SnapshotDropped",
        "budgets that hold no three snapshots are drawn seldom",
        &[NO_THIRD_SNAPSHOT],
    ),
    (
        "StandNowOutdated",
        "a leader gives up a hand-over, and what it said arrives when it has gone on",
        &[LATE_WORD],
    ),
    (
        "node notice LearnersAnswer",
        "a voter is asked about its output just before another directory is in its place",
        &[LEARNER_DIFFERS],
    ),
    (
        "SnapshotAbandoned",
        "the state of a run's service is written within a few duty cycles",
        &[GIVEN_UP_SNAPSHOT],
    ),
    (
        "SnapshotReplacesLog",
        "a member is away for so long that its leader lets go of log that it lacks",
        &[REPLACED_LOG],
    ),
    (
        "node notice LogGoneAtLeader",
        "a member is away for so long that its leader lets go of log that it lacks",
        &[REPLACED_LOG],
    ),
    (
        "StandingLacksAnswers",
        "who has a snapshot in place of its log is the last to hear the leader",
        &[LACKING_ANSWERS],
    ),
    (
        "node notice AnswersMissing",
        "clients of a run take their answers within seconds",
        &[LACKING_ANSWERS],
    ),
    (
        "node notice SnapshotsDiffer",
        "a service that is made to diverge has answered otherwise before it takes a snapshot",
        &[DIFFERING_SNAPSHOTS],
    ),
    (
        "SnapshotMakesWay",
        "a snapshot of a run is fetched within a few duty cycles",
        &[MAKING_WAY],
    ),
    (
        "RecoveryOfLonePad",
        "a host dies between a PAD and its first entry",
        &[LONE_PAD],
    ),
    (
        "StaleSegmentMissing",
        "a segment is lost above the end of a log, and another one above it is not",
        &[LOST_SEGMENT],
    ),
    (
        "EffectsWaitForLog",
        "the leader's disk stalls while a term of the log is filled, and a request comes last",
        &[STALLED_LEADER],
    ),
    (
        "TermListPaged",
        "a log has more than 32 terms",
        &[MANY_TERMS],
    ),
    (
        "node notice LogStuck",
        "a leader is heard for seconds and cannot read what a follower lacks, and nobody restarts",
        &[STUCK_FOLLOWER],
    ),
    (
        "TruncationOutlivesLeader",
        "the leader changes in the moment that a cut takes on its disk",
        &[OUTLIVED_CUT],
    ),
    (
        "StandingWaitsForTruncation",
        "the leader falls silent for good in the moment that a cut takes on the disk",
        &[CUT_AND_SILENCE],
    ),
    (
        "node notice LogReceiverLost",
        "a status message is damaged in its position, and much is sent before the next",
        &[LOST_RECEIVER],
    ),
    (
        "node notice AnswersAwaitOutput",
        "one leads for a second of silence",
        &[SILENT_FOLLOWERS],
    ),
    (
        "node notice EgressPacketRefused",
        "a datagram of the very stream comes late",
        &[LATE_PACKET],
    ),
    (
        "node notice IngressFrameMisplaced",
        "a datagram of the very stream comes late",
        &[LATE_FRAME],
    ),
    (
        "node notice DirectResponseLost",
        "what a short run owes a client fits in its window",
        &[NO_ROOM],
    ),
];
