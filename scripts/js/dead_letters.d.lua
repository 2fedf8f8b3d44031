---@meta lunats.js.dead_letters

---@class js
local js = {}

---The dead letters that psub:consume() has left, in a stream or on a subject.
---@param name string a stream, or a subject that a stream stores; wildcards are allowed
---@return js.dead_letters|nil letters
---@return js.err|nil err `no_stream`: nothing stores them
function js.dead_letters(name) end

---@class js.dead_letters
---@field stream string
---@field subject string|nil those with this subject only
local dead_letters = {}

---Which letters: those that fulfil all that is given.
---@class js.letter_filter
---@field stream string|nil of the message
---@field consumer string|nil that gave it up
---@field subject string|nil of the message; wildcards are allowed
---@field reason string|nil a part of the reason or the error, in any case
---@field since number|nil Unix time: given up then or later
---@field before number|nil Unix time: given up earlier
---@field first integer|nil sequence in the stream of the letters
---@field last integer|nil the same
---@field limit integer|nil no more than so many

---@class js.letter
---@field seq integer in the stream of the letters
---@field subject string on which it lies
---@field time number Unix time: when it was given up
---@field size integer bytes of the payload, the whole of it
---@field reason string|nil
---@field error string|nil what the handler failed with
---@field deliveries integer|nil
---@field redrives integer how often it has gone back and come again
---@field cut boolean a part of the payload or of the headers is missing
---@field origin js.letter_origin
---@field message js.stored_msg|nil of `get`

---@class js.letter_origin
---@field stream string
---@field sequence integer
---@field subject string
---@field consumer string|nil
---@field time number|nil Unix time: when the message was stored

---@param filter js.letter_filter|nil
---@return js.letter[]|nil letters in the order of their sequences
---@return js.err|nil err
function dead_letters:list(filter) end

---@param seq integer
---@param opts { data_type: data_type|nil }|nil
---@return js.letter|nil letter with its `message`
---@return js.err|nil err `not_found`: there is none with this sequence
function dead_letters:get(seq, opts) end

---@class js.redrive_opts
---@field to string|nil a subject, instead of that of the message
---@field dry_run boolean|nil only say where it would go
---@field force boolean|nil although an earlier redrive may have published it
---@field on_progress fun(letter: js.letter, ack: js.redriven|nil, err: js.err|nil)|nil

---@class js.redriven
---@field stream string
---@field subject string
---@field seq integer|nil not with `dry_run`
---@field duplicate boolean|nil an earlier redrive had published it

---@class js.redrive_report
---@field redriven integer
---@field failed { seq: integer, err: js.err }[]

---Publishes the message of a letter where it was, and removes the letter. However often that is
---done, and wherever it is interrupted, the message is there once.
---@param which integer|js.letter_filter one by its sequence, or those of a filter
---@param opts js.redrive_opts|nil
---@return js.redriven|js.redrive_report|nil result
---@return js.err|nil err `unknown`: an earlier redrive may have published it; `damaged`: the letter was cut, and the message is gone; of a run that ended early `err.report` says what is done
function dead_letters:redrive(which, opts) end
