---app.http: HTTP of scripts.
return { request = require "lunats.http.client" }
