---Numbers of the JetStream API's errors (err_code) that are told apart here. The comments are
---the server's words.
return {
  ACCOUNT_FULL = 10002,                -- resource limits exceeded for account
  NO_PEERS = 10005,                    -- no suitable peers for placement
  NOT_AVAILABLE = 10008,               -- JetStream system temporarily unavailable
  NOT_LEADER = 10009,                  -- JetStream cluster can not handle request
  CONSUMER_NOT_FOUND = 10014,
  INSUFFICIENT_RESOURCES = 10023,
  INVALID_JSON = 10025,
  NO_MESSAGE_FOUND = 10037,
  SEQUENCE_NOT_FOUND = 10043,
  STREAM_NOT_CREATED = 10049,          -- error creating store for stream
  MESSAGE_TOO_LARGE = 10054,           -- message size exceeds maximum allowed
  STREAM_NAME_IN_USE = 10058,          -- ... with a different configuration
  STREAM_NOT_FOUND = 10059,
  SUBJECTS_OVERLAP = 10065,            -- ... with an existing stream
  WRONG_LAST_SEQUENCE = 10071,
  FILTER_OUTSIDE = 10093,              -- consumer filter subject is not a valid subset ...
  NOT_UNIQUE = 10100,                  -- filtered consumer not unique on workqueue stream
  DUPLICATE_IN_PROCESS = 10158,        -- duplicate message id is in process
  EXPECTATION_NOT_READY = 10163,       -- expected last sequence per subject unavailable
  WRONG_LAST_SEQUENCE_CONSTANT = 10164, -- the same as 10071, without the number
  MESSAGE_TTL_DISABLED = 10166,        -- per-message TTL is disabled
  TOO_MANY_REQUESTS = 10167,
  COUNTERS_DISABLED = 10168,           -- message counters is disabled
  BATCHES_DISABLED = 10174,            -- atomic publish is disabled
  SCHEDULES_DISABLED = 10188,          -- message schedules is disabled
}
