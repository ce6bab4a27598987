# ruff: noqa: E501  the samples and their patterns are lines as programs write them
"""What programs write when something that they depend on is wrong: one table for the clients of all languages.

Each phrase has a sample as its program writes it; tests hold every phrase against its own sample and all the others. The
patterns are bounded, so that a hostile line costs no more than a long one.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kdiag.model.text import whole


class Topic(enum.Enum):
    """What a phrase complains of."""

    ACCESS_DENIED = "access denied"
    DATABASE_UNKNOWN = "database unknown"
    UNRESOLVED = "unresolved"  # before unreachable: a line that says both means this
    UNREACHABLE = "unreachable"
    IDLE_DROPPED = "idle connection dropped"
    FORBIDDEN = "forbidden"
    VARIABLE_MISSING = "variable missing"
    CERTIFICATE_REFUSED = "certificate refused"
    DISK_FULL = "disk full"
    FILES_EXHAUSTED = "files exhausted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """One way of saying it. ``by`` names the program or library that says it, ``sample`` is what it wrote."""

    topic: Topic
    by: str
    pattern: str
    sample: str

    def search(self, text: str) -> re.Match[str] | None:
        """Where the text says it. Compiled at its first use: most runs read no log that complains."""
        return _compiled(self.pattern).search(text)


_compiled = functools.cache(re.compile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A phrase that was found in a line, with what it names: host, port, user, database, variable and so on."""

    phrase: Phrase
    text: str
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def topic(self) -> Topic:
        """What it complains of."""
        return self.phrase.topic

    @property
    def host(self) -> str:
        """The host that it names, in lower case and without a dot at its end; empty when it names none."""
        return self.names.get("host", "").strip("[]").rstrip(".").lower()

    @property
    def port(self) -> int:
        """The port that it names, or 0."""
        port = whole(self.names.get("port", "")) or 0
        return port if port < 65536 else 0

    @property
    def word(self) -> str:
        """What it is about, to tell it from others of its topic: the host, database, variable or user, in this order."""
        if self.topic is Topic.FORBIDDEN:
            return " ".join(self.names.get(k, "") for k in ("user", "verb", "resource", "group", "where"))
        return next((self.names[k] for k in ("host", "database", "variable", "user", "verb") if self.names.get(k)), "")


#: Who says it, where a name that does not resolve has a line break at its end.
LINE_BREAK = "Go, a line break in the name"
#: Who says it, where it has a blank at its end.
BLANK = "Go, a blank in the name"
#: Who says it of what is no host and port, or has too much before or after them.
NO_ADDRESS = "Go, no address"
#: Who says it, where no DNS server answers at all: nslookup, dig and host, which then name no host.
NO_SERVER = "BIND, no server"
_HOST = r"(?P<host>\[[0-9a-fA-F:]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?)"
_PORT = r"(?P<port>\d{1,5})"
_NAME = r"[^\s'\"`]{1,100}"


def _all() -> Iterator[Phrase]:
    topic = Topic.ACCESS_DENIED

    def phrase(by: str, pattern: str, sample: str) -> Phrase:
        return Phrase(topic=topic, by=by, pattern=pattern, sample=sample)

    # MySQL errors 1044, 1045 and 1698: the server's own text, which every client passes on.
    yield phrase(
        "MySQL",
        rf"Access denied for user '(?P<user>[^']{{0,80}})'@'(?P<client>[^']{{0,255}})' to database '(?P<database>{_NAME})'",
        "ERROR 1044 (42000): Access denied for user 'shop'@'%' to database 'orders'",
    )
    yield phrase(
        "MySQL",
        r"Access denied for user '(?P<user>[^']{0,80})'@'(?P<client>[^']{0,255})'",
        "Error 1045 (28000): Access denied for user 'sql-user'@'10.244.1.3' (using password: YES)",
    )
    # PostgreSQL src/backend/libpq/auth.c; SQLSTATE 28P01 and 28000.
    yield phrase(
        "PostgreSQL",
        r"(?:password|PAM|LDAP|Peer|Ident|SASL|SCRAM) authentication failed for user \\?\"(?P<user>[^\"\\]{0,80})\\?\"",
        'FATAL:  password authentication failed for user "shop"',
    )
    yield phrase(
        "PostgreSQL",
        r"no pg_hba\.conf entry for host \\?\"(?P<client>[^\"\\]{0,64})\\?\", user \\?\"(?P<user>[^\"\\]{0,80})\\?\"",
        'FATAL:  no pg_hba.conf entry for host "10.244.1.3", user "shop", database "orders", no encryption',
    )
    yield phrase(
        "PostgreSQL",
        r"role \\?\"(?P<user>[^\"\\]{1,80})\\?\" does not exist",
        'FATAL:  role "shopp" does not exist',
    )
    # Redis 6 and later; ERR invalid password is Redis 5.
    yield phrase(
        "Redis",
        r"WRONGPASS invalid username-password pair|ERR invalid password\b|ERR Client sent AUTH, but no password is set",
        "redis.exceptions.AuthenticationError: WRONGPASS invalid username-password pair or user is disabled.",
    )
    yield phrase(
        "Redis",
        r"NOAUTH Authentication required|HELLO must be called with the client already authenticated",
        "ReplyError: NOAUTH Authentication required.",
    )
    # MongoDB error 18; the server logs the principal in JSON.
    yield phrase(
        "MongoDB",
        r"\(AuthenticationFailed\)|\bMongoServerError: Authentication failed|\bcode(?:Name)?['\"]?[:=] ?['\"]?"
        r"AuthenticationFailed|Authentication failed\., full error|\"msg\":\"Authentication failed\"",
        "pymongo.errors.OperationFailure: Authentication failed., full error: {'ok': 0.0, 'code': 18}",
    )
    yield phrase("Oracle", r"ORA-01017\b", "java.sql.SQLException: ORA-01017: invalid username/password; logon denied")
    yield phrase("Oracle", r"ORA-28000\b", "ORA-28000: The account is locked.")
    # SQL Server error 18456.
    yield phrase(
        "SQL Server",
        r"(?i:mssql|sqlserver|sqlclient|sqlexception|sql server|odbc|tds|18456|pyodbc|tedious|ELOGIN)[^\n]{0,200}Login failed for user '(?P<user>[^']{0,80})'",
        "mssql: login error: Login failed for user 'sa'.",
    )
    yield phrase(
        "RabbitMQ",
        r"ACCESS_REFUSED - Login was refused|user '(?P<user>[^']{1,80})' - invalid credentials",
        "(403) ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
    )
    yield phrase(
        "Kafka",
        r"SaslAuthenticationException: (?:Authentication failed|Invalid username)|SASL authentication failed",
        "org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed during authentication",
    )
    yield phrase(
        "Elasticsearch",
        r"unable to authenticate user \[(?P<user>[^\]]{1,80})\]",
        '"type":"security_exception","reason":"unable to authenticate user [elastic] for REST request [/]"',
    )
    yield phrase(
        "Cassandra",
        r"Provided username (?P<user>\S{1,80}) and/or password are incorrect",
        "AuthenticationFailed: Provided username shop and/or password are incorrect",
    )

    topic = Topic.DATABASE_UNKNOWN
    yield phrase("MySQL", rf"Unknown database '(?P<database>{_NAME})'", "ERROR 1049 (42000): Unknown database 'shopp'")
    yield phrase(
        "PostgreSQL",
        r"(?:FATAL|FEHLER|failed|3D000)[^\n]{0,120}?database \\?\"(?P<database>[^\"\\]{1,80})\\?\" does not exist",
        'FATAL:  database "shopp" does not exist',
    )
    yield phrase(
        "SQL Server",
        r"Cannot open database \\?\"(?P<database>[^\"\\]{1,80})\\?\" requested by the login",
        'Cannot open database "shopp" requested by the login. The login failed.',
    )
    yield phrase(
        "Oracle",
        r"ORA-12514\b|ORA-12505\b",
        "ORA-12514: TNS:listener does not currently know of service requested in connect descriptor",
    )

    topic = Topic.UNRESOLVED
    # Go net.DNSError.
    yield phrase(
        "Go",
        rf"lookup {_HOST}(?: on \S{{1,60}})?: (?:no such host|server misbehaving|i/o timeout|Temporary failure in name"
        rf" resolution|Name or service not known|(?:read|write|dial) (?:udp|tcp)[46]? [^\n]{{1,100}}: (?:i/o timeout"
        r"|(?:read|write|connect): [a-z]))",
        "dial tcp: lookup mysql on 10.96.0.10:53: no such host",
    )
    # The resolver's own texts (glibc and musl) behind a quoted host: libpq, mysql, psycopg, curl, redis-cli, busybox.
    yield phrase(
        "libpq",
        rf"could not translate host name \\?\"{_HOST}\\?\" to address",
        'psycopg2.OperationalError: could not translate host name "postgres" to address: Name or service not known',
    )
    yield phrase("MySQL", rf"Unknown MySQL server host '{_HOST}'", "Unknown MySQL server host 'mysql' (-2)")
    yield phrase(
        "MariaDB", rf"Unknown (?:MariaDB )?server host '{_HOST}'", "ERROR 2005 (HY000): Unknown server host 'db' (-2)"
    )
    # The name ends the line, and the error goes on in the next one: the line break is a part of the name.
    yield phrase(LINE_BREAK, rf"dial (?:tcp|udp)[46]?: lookup {_HOST}$", ":3306': dial tcp: lookup db")
    yield phrase(
        BLANK,
        rf"dial (?:tcp|udp)[46]?: lookup {_HOST}[ \t]+(?:on \S+)?: no such host",
        "dial tcp: lookup db : no such host",
    )
    yield phrase("curl", rf"Could not resolve host: {_HOST}", "curl: (6) Could not resolve host: api-service")
    yield phrase("Node.js", rf"getaddrinfo (?:ENOTFOUND|EAI_AGAIN) {_HOST}", "Error: getaddrinfo ENOTFOUND mongo")
    yield phrase("Node.js", rf"queryA? (?:ENOTFOUND|ESERVFAIL|ETIMEOUT) {_HOST}", "Error: queryA ENOTFOUND mongo")
    yield phrase(
        "Java", rf"UnknownHostException: {_HOST}", "java.net.UnknownHostException: mysql: Name or service not known"
    )
    yield phrase(
        "Java",
        rf"Failed to resolve '{_HOST}'",
        "io.netty.resolver.dns.DnsErrorCauseException: Failed to resolve 'redis' [A(1)]",
    )
    yield phrase(
        "Kafka",
        rf"Couldn't resolve server {_HOST}:{_PORT}|No resolvable bootstrap urls",
        "Couldn't resolve server kafka:9092 from bootstrap.servers as DNS resolution failed for kafka",
    )
    yield phrase(
        "librdkafka",
        rf"Failed to resolve '{_HOST}:{_PORT}'",
        "%3|FAIL|rdkafka#producer-1| kafka:9092/bootstrap: Failed to resolve 'kafka:9092': Name or service not known",
    )
    yield phrase(
        "nginx",
        rf"host not found in (?:upstream|resolver) \\?\"{_HOST}(?::{_PORT})?[/\"\\]",
        'nginx: [emerg] host not found in upstream "api-service" in /etc/nginx/conf.d/default.conf:8',
    )
    yield phrase(
        "nginx",
        rf"\*\d{{1,12}} {_HOST} could not be resolved \(",
        "[error] 7#7: *1 api-service could not be resolved (3: Host not found)",
    )
    yield phrase(
        "Python",
        rf"host='{_HOST}', port={_PORT}\)[^\n]{{0,300}}(?:Name or service not known|Temporary failure in name resolution"
        rf"|No address associated with hostname|nodename nor servname|Name does not resolve|Failed to resolve)",
        "HTTPConnectionPool(host='api', port=80): Max retries exceeded with url: / (Caused by NewConnectionError("
        "'<urllib3>: Failed to establish a new connection: [Errno -2] Name or service not known'))",
    )
    yield phrase(
        "Python",
        rf"{_HOST}:{_PORT}[^\n]{{0,60}}\[Errno -[235]\] (?:Name|Temporary|No address)",
        "pymongo.errors.ServerSelectionTimeoutError: mongo:27017: [Errno -2] Name or service not known",
    )
    yield phrase(
        "redis-py",
        rf"Error -[235] connecting to {_HOST}:{_PORT}",
        "redis.exceptions.ConnectionError: Error -2 connecting to redis:6379. Name or service not known.",
    )
    yield phrase(
        "PHP",
        rf"php_network_getaddresses: getaddrinfo for {_HOST} failed",
        "PDOException: php_network_getaddresses: getaddrinfo for mysql failed: Name or service not known",
    )
    yield phrase(
        "Ruby",
        rf"getaddrinfo\(3\)?[^\n]{{0,80}}\({_HOST}:{_PORT}\)|Failed to open TCP connection to {_HOST.replace('host', 'host2')}:"
        rf"(?P<port2>\d{{1,5}}) \(getaddrinfo",
        "Failed to open TCP connection to api:80 (getaddrinfo: Name or service not known) (SocketError)",
    )
    yield phrase(
        "busybox",
        rf"(?:nslookup: can't resolve|bad address|unknown host|can't resolve) '{_HOST}(?::{_PORT})?'",
        "wget: bad address 'mydb:5432'",
    )
    yield phrase(
        "busybox",
        rf"server can't find {_HOST}: (?:NXDOMAIN|SERVFAIL)",
        "** server can't find mydb.default.svc.cluster.local: NXDOMAIN",
    )
    yield phrase(
        NO_SERVER, r";; (?:connection timed out; )?no servers could be reached", ";; no servers could be reached"
    )
    yield phrase(
        NO_SERVER,
        r"nslookup: write to '[^'\n]{1,100}': Connection refused",
        "nslookup: write to '10.96.0.10': Connection refused",
    )
    yield phrase(
        "getent",
        rf"(?:ping|ssh|telnet|nc|psql|mysql|ncat|mongo): [^\n]{{0,20}}?{_HOST}: (?:Name or service not known|Temporary failure in name resolution|Name does not resolve)",
        "ping: mydb: Name or service not known",
    )
    yield phrase(
        ".NET",
        rf"(?:Name or service not known|No such host is known\.?|Name does not resolve|Resource temporarily unavailable)"
        rf" \({_HOST}:{_PORT}\)",
        "System.Net.Http.HttpRequestException: Name or service not known (api:80)",
    )
    yield phrase(
        "Rust",
        r"failed to lookup address information: (?:Name|Temporary|No address|Try again)",
        "error trying to connect: dns error: failed to lookup address information: Name or service not known",
    )
    yield phrase(
        "HAProxy/Envoy",
        rf"could not resolve address '{_HOST}'",
        "[ALERT] (1) : parsing [/etc/haproxy/haproxy.cfg:12] : 'server s1' : could not resolve address 'api'.",
    )

    # Scripts in their own words: only of a Service's full name is it plain what they mean.
    yield phrase(
        "script",
        r"(?i:can ?not|can't|could not|couldn't|unable to|failed to) resolve (?:host(?:name)? )?['\"]?"
        r"(?P<host>[a-z0-9-]{1,63}\.[a-z0-9-]{1,63}\.svc\b[a-z0-9.-]{0,100})",
        "cannot resolve kubernetes.default.svc.cluster.local",
    )

    topic = Topic.UNREACHABLE
    end = r"(?:connection refused|i/o timeout|no route to host|network is unreachable|host is unreachable)"
    yield phrase(
        NO_ADDRESS,
        rf"dial (?:tcp|udp)[46]?: address (?:[a-z]\w*://)?{_HOST}[^ ]*: (?:too many colons|missing port) in address",
        "dial tcp: address tcp://db:3306: too many colons in address",
    )
    yield phrase(
        "Go MySQL",
        rf"Can't connect to (?:local )?(?:MySQL|MariaDB|server) ?(?:server )?(?:on|through) '{_HOST}(?::{_PORT})?'",
        "Can't connect to MySQL server on 'mysql-service:3306': dial tcp 10.96.72.238:3306: connect: connection refused",
    )
    # net.OpError, inside url.Error where there is one: the URL has the name, the rest only the address.
    yield phrase(
        "Go",
        rf"\"https?://{_HOST}(?::{_PORT})?[/?\\\"][^\n]{{0,600}}dial tcp [^\n]{{1,80}}: (?:connect: )?{end}",
        'Get "http://api:8080/v1": dial tcp 10.96.3.4:8080: connect: connection refused',
    )
    yield phrase("Go", rf"dial tcp {_HOST}:{_PORT}: (?:connect: )?{end}", "dial tcp 10.96.184.108:3307: i/o timeout")
    yield phrase(
        "libpq",
        rf"connection to server at \\?\"{_HOST}\\?\"(?: \([0-9a-fA-F.:]{{2,45}}\))?, port {_PORT} failed: (?:Connection"
        rf" refused|Connection timed out|timeout expired|No route to host|Network is unreachable)",
        'connection to server at "postgres" (10.96.3.4), port 5432 failed: Connection refused',
    )
    yield phrase(
        "libpq",
        rf"Is the server running on (?:that )?host \\?\"{_HOST}\\?\"(?: \([0-9a-fA-F.:]{{2,45}}\))?[^\n]{{0,80}}port {_PORT}",
        'Is the server running on host "postgres" (10.96.3.4) and accepting TCP/IP connections on port 5432?',
    )
    yield phrase(
        "pgjdbc",
        rf"Connection to {_HOST}:{_PORT} refused\.",
        "org.postgresql.util.PSQLException: Connection to postgres:5432 refused. Check that the hostname and port are correct",
    )
    yield phrase(
        "Node.js",
        rf"connect (?:ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH) {_HOST}:{_PORT}",
        "Error: connect ECONNREFUSED 10.96.3.4:27017",
    )
    yield phrase(
        "Java",
        rf"(?:ConnectException|NoRouteToHostException|ConnectTimeoutException|SocketTimeoutException|HttpHostConnect"
        rf"Exception|RedisConnectionException|JedisConnectionException|SQLTransientConnectionException)"
        rf"[^\n]{{0,160}}?[ /]{_HOST}(?:/[0-9a-fA-F.:]{{2,45}})?:{_PORT}",
        "io.netty.channel.AbstractChannel$AnnotatedConnectException: Connection refused: redis/10.96.3.4:6379",
    )
    yield phrase(
        "Java",
        rf"Connect to (?:https?://)?{_HOST}:{_PORT}[^\n]{{0,160}} failed: (?:Connection refused|Connection timed out|Connect timed out)",
        "org.apache.http.conn.HttpHostConnectException: Connect to api:8080 [api/10.96.3.4] failed: Connection refused",
    )
    yield phrase(
        "Java lettuce",
        rf"Unable to connect to \[?{_HOST}(?:/[^:\]\s]{{0,60}})?:{_PORT}\]?",
        "io.lettuce.core.RedisConnectionException: Unable to connect to redis:6379",
    )
    yield phrase(
        "Kafka",
        rf"Connection to node -?\d{{1,6}} \({_HOST}/[^)\s]{{0,60}}:{_PORT}\) could not be established",
        "[AdminClient] Connection to node -1 (kafka/10.96.3.4:9092) could not be established. Node may not be available.",
    )
    yield phrase(
        "Kafka",
        rf"{_HOST}:{_PORT}/bootstrap: Connect to \S{{1,80}} failed",
        "kafka:9092/bootstrap: Connect to ipv4#10.96.3.4:9092 failed: Connection refused",
    )
    yield phrase(
        "Prisma",
        rf"Can't reach database server at `{_HOST}(?:`:`|:){_PORT}`",
        "Error: P1001: Can't reach database server at `db`:`5432`",
    )
    yield phrase(
        "redis-py",
        rf"Error (?:111|110|113) connecting to {_HOST}:{_PORT}",
        "redis.exceptions.ConnectionError: Error 111 connecting to redis:6379. Connection refused.",
    )
    yield phrase(
        "redis-cli",
        rf"Could not connect to Redis at {_HOST}:{_PORT}: (?:Connection|Operation timed|No route)",
        "Could not connect to Redis at redis:6379: Connection refused",
    )
    yield phrase(
        "Python",
        rf"{_HOST}:{_PORT}[^\n]{{0,60}}\[Errno 1(?:11|10|13)\]",
        "pymongo.errors.ServerSelectionTimeoutError: mongo:27017: [Errno 111] Connection refused",
    )
    yield phrase(
        "Python",
        rf"host='{_HOST}', port={_PORT}\)[^\n]{{0,300}}(?:Connection refused|timed out|No route to host)",
        "HTTPConnectionPool(host='api', port=80): Max retries exceeded with url: / (Caused by NewConnectionError("
        "'<urllib3>: Failed to establish a new connection: [Errno 111] Connection refused'))",
    )
    yield phrase(
        "PyMySQL",
        rf"\(2003, \\?[\"']Can't connect to MySQL server on '{_HOST}(?::{_PORT})?'",
        "pymysql.err.OperationalError: (2003, \"Can't connect to MySQL server on 'mysql' ([Errno 111] Connection refused)\")",
    )
    yield phrase(
        "nginx",
        rf"connect\(\) failed \((?:111|110|113): [^\n]{{1,300}}upstream: \\?\"[a-z]{{2,8}}://{_HOST}:{_PORT}",
        "[error] 7#7: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.1, server: ,"
        ' request: "GET / HTTP/1.1", upstream: "http://10.96.3.4:8080/", host: "shop"',
    )
    yield phrase(
        "PHP",
        rf"(?:tcp://|fsockopen\(\): [Uu]nable to connect to ){_HOST}:{_PORT}[^\n]{{0,40}}\(?(?:Connection refused|Connection timed out)",
        "stream_socket_client(): Unable to connect to tcp://redis:6379 (Connection refused)",
    )
    yield phrase(
        "Ruby",
        rf"(?:Connection refused|Operation timed out|No route to host) - connect\(2\) for \\?\"?{_HOST}\\?\"?(?: port |:){_PORT}",
        'Errno::ECONNREFUSED: Connection refused - connect(2) for "api" port 80',
    )
    yield phrase(
        "curl",
        rf"Failed to connect to {_HOST} port {_PORT}",
        "curl: (7) Failed to connect to api-service port 80 after 3 ms: Couldn't connect to server",
    )
    yield phrase(
        "wget",
        rf"can't connect to remote host \({_HOST}\): (?:Connection refused|Connection timed out|No route to host)",
        "wget: can't connect to remote host (10.96.3.4): Connection refused",
    )
    yield phrase(
        ".NET",
        rf"(?:Connection refused|Connection timed out|No connection could be made because the target machine actively refused it)\.?"
        rf" \({_HOST}:{_PORT}\)",
        "System.Net.Http.HttpRequestException: Connection refused (api:80)",
    )

    topic = Topic.IDLE_DROPPED
    # lettuce, when the answer never comes: a firewall forgot the connection.
    yield phrase(
        "lettuce",
        r"RedisCommandTimeoutException: Command timed out after (?P<limit>\d{1,6} \w{2,12}(?:\(s\))?)",
        "io.lettuce.core.RedisCommandTimeoutException: Command timed out after 1 minute(s)",
    )
    yield phrase(
        "HikariCP",
        r"Failed to validate connection [^\n]{1,200}\((?:No operations allowed after connection closed|This connection has been closed)",
        "HikariPool-1 - Failed to validate connection com.mysql.cj.jdbc.ConnectionImpl@1a (No operations allowed after"
        " connection closed.). Possibly consider using a shorter maxLifetime value.",
    )
    yield phrase(
        "MySQL",
        r"The last packet successfully received from the server was (?P<limit>[\d,]{5,15}) milliseconds ago"
        r"",
        "The last packet successfully received from the server was 3,600,123 milliseconds ago.",
    )
    yield phrase(
        "PostgreSQL",
        r"SSL connection has been closed unexpectedly|terminating connection due to idle-session timeout",
        "psycopg2.OperationalError: SSL connection has been closed unexpectedly",
    )

    topic = Topic.FORBIDDEN
    # k8s.io/apiserver responsewriters.Forbidden: the same since 1.8.
    yield phrase(
        "Kubernetes API",
        r"is forbidden: User \\*\"(?P<user>system:serviceaccount:(?P<namespace>[a-z0-9-]{1,63}):(?P<account>[a-z0-9.-]{1,253}))\\*\" cannot"
        r" (?P<verb>[a-z]{2,20}) resource \\*\"(?P<resource>[a-z0-9./*-]{1,120})\\*\" in API group \\*\"(?P<group>[a-z0-9.-]{0,120})\\*\""
        r"(?: in the namespace \\*\"(?P<where>[a-z0-9-]{1,63})\\*\"| at the cluster scope)?",
        'Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:qa-tools:sa-explorer" cannot list resource'
        ' "pods" in API group "" in the namespace "qa-tools"',
    )

    topic = Topic.VARIABLE_MISSING
    variable = r"(?P<variable>[A-Z][A-Z0-9_]{2,62})"
    yield phrase(
        "Go, shell",
        rf"\b{variable}(?: environment variable| env(?:ironment)?(?: var(?:iable)?)?)? (?:is )?(?:not set|unset|must be set|must be"
        rf" defined|is required|not defined|undefined|is missing|is empty|cannot be empty|not found in environment)\b",
        "2026/01/01 00:00:00 PORT environment variable not set",
    )
    yield phrase(
        "programs",
        rf"(?i:missing|required|undefined|unset)(?i: required)?(?i: environment| env)(?i: variables?| vars?)?(?i: is not set| not set| missing)?:?"
        rf" [`'\"]?{variable}\b",
        "panic: missing required environment variable: DATABASE_HOST",
    )
    yield phrase(
        "programs",
        rf"(?i:environment|env)(?i: variables?| vars?) [`'\"]?{variable}[`'\"]? (?:is |was )?(?:not set|not defined|missing|undefined|required|unset|empty|not found)",
        "Error: environment variable DATABASE_HOST not found",
    )
    yield phrase("Python", rf"\bKeyError: '{variable}'", "KeyError: 'DATABASE_HOST'")
    yield phrase(
        "Ruby",
        rf"key not found: \\?\"{variable}\\?\" \(KeyError\)",
        'config.rb:3:in `fetch\': key not found: "PORT" (KeyError)',
    )
    yield phrase(
        "shell",
        rf"\b{variable}: (?:unbound variable|(?:<redacted:[^>]+> |parameter )?(?:is )?(?:null or )?not set|(?:is )?(?:required|missing|undefined)$)",
        "/start.sh: line 3: DB_HOST: unbound variable",
    )
    yield phrase(
        "Spring",
        rf"Could not resolve placeholder '{variable}(?=['.:])",
        "Could not resolve placeholder 'DB_HOST' in value \"${DB_HOST}\"",
    )
    yield phrase("envconfig", rf"required key {variable} missing value", "required key DB_HOST missing value")
    yield phrase(
        "pydantic, envalid",
        rf"^\s{{0,4}}{variable}: (?:undefined|Required|field required)",
        "    DATABASE_HOST: undefined",
    )
    # docker-entrypoint of the database images.
    yield phrase(
        "PostgreSQL image",
        r"You must specify (?P<variable>POSTGRES_PASSWORD) to a non-empty value",
        "You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.",
    )
    yield phrase(
        "MySQL image",
        r"Database is uninitialized and password option is not specified(?P<image>)",
        "[ERROR] [Entrypoint]: Database is uninitialized and password option is not specified",
    )

    topic = Topic.CERTIFICATE_REFUSED
    yield phrase(
        "Go",
        rf"x509: certificate is valid for (?P<valid>[^\n]{{1,200}}?), not {_HOST}",
        "tls: failed to verify certificate: x509: certificate is valid for api.shop.svc, not api",
    )
    yield phrase(
        "Go",
        rf"(?:\"https://{_HOST}(?::{_PORT})?[/?\\\"][^\n]{{0,300}})?x509: certificate (?P<reason>has expired or is not yet valid|signed by unknown authority|relies on legacy Common Name)",
        'Get "https://api:8443/": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time',
    )
    yield phrase(
        "Go",
        r"x509: (?P<reason>cannot validate certificate for \S{1,60} because it doesn't contain any IP SANs)",
        "x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
    )
    yield phrase(
        "Java",
        r"PKIX path (?:building|validation) failed: [^\n]{0,200}?(?P<reason>unable to find valid certification path|validity check failed|timestamp check failed)",
        "sun.security.validator.ValidatorException: PKIX path building failed: sun.security.provider.certpath."
        "SunCertPathBuilderException: unable to find valid certification path to requested target",
    )
    yield phrase(
        "Java",
        r"No subject alternative (?:DNS )?names? (?:matching|present)(?: [^\n]{0,100})?",
        "java.security.cert.CertificateException: No subject alternative DNS name matching api found.",
    )
    yield phrase(
        "OpenSSL",
        r"(?i:certificate verify failed)(?:: (?P<reason>[a-z][a-z -]{3,60}))?",
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate",
    )
    yield phrase(
        "Node.js",
        r"(?:code: '|Error: |reason: )(?P<reason>UNABLE_TO_VERIFY_LEAF_SIGNATURE|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|CERT_HAS_EXPIRED|ERR_TLS_CERT_ALTNAME_INVALID|unable to verify the first certificate|self-signed certificate|certificate has expired)",
        "Error: unable to verify the first certificate",
    )
    yield phrase(
        "curl",
        r"SSL certificate problem: (?P<reason>[a-z][a-zA-Z -]{3,80})",
        "curl: (60) SSL certificate problem: unable to get local issuer certificate",
    )

    topic = Topic.DISK_FULL
    yield phrase("Linux", r"(?i:no space left on device)|\bENOSPC\b", "write /data/journal: no space left on device")
    yield phrase(
        "PostgreSQL",
        r"could not (?:extend|write to) file [^\n]{1,160}: No space",
        'ERROR:  could not extend file "base/16384/16385": No space left on device',
    )
    yield phrase("Linux", r"(?i:disk quota exceeded)|\bEDQUOT\b", "open /data/x: disk quota exceeded")

    topic = Topic.FILES_EXHAUSTED
    yield phrase(
        "Linux",
        r"(?i:too many open files)(?! in system)|\bEMFILE\b",
        "accept tcp [::]:8080: accept4: too many open files",
    )
    yield phrase("Linux", r"(?i:too many open files in system)|\bENFILE\b", "open /x: too many open files in system")


PHRASES = tuple(_all())
_BY_TOPIC = {topic: tuple(p for p in PHRASES if p.topic is topic) for topic in Topic}
#: One of these is in every line that a phrase can match: most lines are done with after one search.
_HINT = re.compile(
    r"denied|fail|refus|WRONGPASS|NOAUTH|HELLO must|ERR |pg_hba|exist|ORA-|invalid cred|authenticate|incorrect|nknown|lookup"
    r"|could|ould not|Couldn't|Can't|can't|ENOTFOUND|EAI_AGAIN|ESERVFAIL|ETIMEOUT|host|nown|resol|addr|connect|onnect|ECONN"
    r"|ETIMEDOUT|UNREACH|timed out|timeout|gone away|last packet|closed|forbidden|not set|unset|must|required|missing|defined"
    r"|empty|KeyError|key not|bound|parameter|not found|Required|uninit|x509|PKIX|subject alt|ertificate|CERT|space left|ENOSPC"
    r"|quota|EDQUOT|open files|E[MN]FILE|Errno|Open|Cannot|No resolv|dial"
)
_WELL = re.compile(
    r"(?i)(?<!not )(?<!un)(?<!dis)(?<!never )(?:successfully connected|connected (?:successfully )?to|connection (?:to \S{1,100} )?"
    r"(?:is )?(?:established|restored|succeeded|successful|ok\b|acquired)|reconnected|login succeeded|logged in as)"
)


#: How a log agent, or who passes events on, marks what another has said: with the tag of its file, the stream that it
#: came by, the pod that it is of, or the object of the event. No program says that of its own words.
#: The API server passes on so what went wrong between it and a webhook.
_PASSED_ON = re.compile(
    r"failed calling webhook \\{0,4}[\"']|conversion webhook for [\w.-]{1,253}/v\w{1,60}, Kind=|"
    r"\bvar\.log\.(?:containers|pods)\.|[\"']stream\\?[\"'] ?(?:[:=]|=>) ?\\?[\"']std(?:out|err)\\?[\"']"
    r"|[\"']kubernetes\\?[\"'] ?(?::|=>) ?\{|[\"']involvedObject\\?[\"'] ?: ?\{"
)
#: How a database server begins what it says of a client whose login it refuses.
_SERVER = re.compile(
    r"\[\d{1,7}\](?: [^\s:]{1,120}){0,4}:? {1,2}(?:FATAL|FEHLER): {1,2}(?:password|no pg_hba|role |database )"  # PostgreSQL
    r"|\[(?:Note|Warning|ERROR)\] (?:\[MY-\d{1,6}\] )?(?:\[Server\] )?Access denied for user"  # MySQL, MariaDB
)


@functools.lru_cache(maxsize=20_000)
def said(text: str, *topics: Topic) -> Said | None:
    """What a line complains of, by the first phrase of the table that fits; None for a line that complains of nothing."""
    if not _HINT.search(text) or _PASSED_ON.search(text):
        return None
    for topic in topics or tuple(Topic):
        for phrase in _BY_TOPIC[topic]:
            if match := phrase.search(text):
                names = {k.rstrip("2"): v for k, v in match.groupdict().items() if v}
                return Said(phrase=phrase, text=text, names=names)
    return None


def says_connected(text: str) -> bool:
    """Whether a line tells of a connection that was made."""
    return bool(_WELL.search(text))


def says_server(text: str) -> bool:
    """Whether a database server says it, of one of its clients."""
    return bool(_SERVER.search(text))
