---@meta lunats.json

---Encodes and decodes JSON; scripts reach it as `app.json`.
---
---What goes in comes out the same: integers of 64 bits stay exact integers, floats stay floats
---(`3.0` is written as `3.0`), empty arrays stay arrays. Strings must be UTF-8 both ways.
---@class json
local json = {}

---JSON's `null`, everywhere in decoded values: `if order.note == json.null then`. It is true in
---a condition, unlike nil, and equal to `null` of lua-cjson.
---@type lightuserdata
json.null = nil

---@class json.options
---@field big? "float"|"string" what to make of integers beyond 64 bits: the nearest float
---(default), or a string of their digits

---What `json.decode` returns for a text that is not JSON; `tostring(err)` is its message.
---@class json.error
---@field code "bad_json"
---@field message string such as `expected ',' or '}' at byte 17`
---@field offset integer the byte that the message names, counted from 1

---Encodes a value as JSON text without blanks.
---
---A table is written as an array if its keys are 1 to n or `json.array` marked it, and as an
---object if its keys are strings. An empty table without a mark is `{}`. Metamethods are not
---called. Raises for what JSON cannot hold, and names the path: functions, NaN and infinite
---numbers, strings that are not UTF-8, lists with holes, other keys, tables in tables beyond 128
---levels (`values[3].f: cannot encode a function`).
---@param value any nil gives `null`
---@return string text
function json.encode(value) end

---Decodes one JSON text.
---
---`null` becomes `json.null`. Arrays are marked, so that they stay arrays even if they get empty.
---Numbers without fraction and exponent become integers, `-0` and all others floats; numbers
---too large for a float are refused. Of equal keys the last one wins. Refused besides: text
---behind the value, a byte order mark, halves of surrogate pairs, more than 128 levels.
---@param text string UTF-8
---@param options? json.options
---@return any value nil if the text is not valid
---@return json.error? err
function json.decode(text, options) end

---Marks a table as an array, so that it is written as `[]` even when it is empty. Raises if the
---table has a metatable of its own.
---@param list? table default: a new one
---@return table list the same table
function json.array(list) end

---Marks a table as an object; `json.encode` then refuses list items in it. Raises if the table
---has a metatable of its own.
---@param fields? table default: a new one
---@return table fields the same table
function json.object(fields) end

---Tells whether a value is a table that would be written as an array: marked as one, or without
---a mark and with a first item.
---@param value any
---@return boolean
function json.is_array(value) end

return json
