#!/usr/bin/env bash
# The C tools of amqp-tools, over librabbitmq: what a shell script does with a broker.
set -uo pipefail

queue=compliance-$$-tools
exchange_key=compliance-$$-key
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# The tools take a URI that ends in / by the letter, as the vhost of no name; the other clients as vhost /.
uri=${WARREN_URI%/}

# Every tool is given the broker, and a time limit.
tool() {
    local name=$1
    shift
    timeout 30 "$name" --url="$uri" "$@"
}

# check NAME EXPECTED ACTUAL
check() {
    if [[ $2 == "$3" ]]; then
        echo "ok $1"
    else
        echo "not ok $1: got $(printf %q "$3"), expected $(printf %q "$2")"
        failed=1
    fi
}

# What a tool prints and its exit code, in one line.
outcome() {
    local out code
    out=$("$@" 2>&1)
    code=$?
    echo "$code:$out"
}

check "declare a queue" "0:$queue" "$(outcome tool amqp-declare-queue --queue="$queue" --durable)"
check "declare it again" "0:$queue" "$(outcome tool amqp-declare-queue --queue="$queue" --durable)"

check "get from an empty queue fails without a word" "2:" "$(outcome tool amqp-get --queue="$queue")"

check "publish" "0:" "$(outcome tool amqp-publish --routing-key="$queue" --body="first" --persistent)"
check "publish from standard input" "0:" "$(outcome tool amqp-publish --routing-key="$queue" <<<"second")"
check "publish lines, each a message" "0:" \
    "$(printf 'third\nfourth\n' | outcome tool amqp-publish --routing-key="$queue" --line-buffered)"

check "get in order" "0:first" "$(outcome tool amqp-get --queue="$queue")"
check "get what came from standard input" "0:second" "$(outcome tool amqp-get --queue="$queue")"
check "consume a count" "0:third
fourth" "$(outcome tool amqp-consume --queue="$queue" --count=2 --prefetch-count=1 cat)"

check "bind to amq.topic and consume what is routed" "0:routed" "$(
    tool amqp-consume --queue= --exchange=amq.topic --routing-key="$exchange_key.#" --exclusive --count=1 cat \
        >"$work/consumed" 2>&1 &
    consumer=$!
    # The consumer's queue is its own and has a name nobody else knows: publish until one arrives.
    for _ in $(seq 100); do
        tool amqp-publish --exchange=amq.topic --routing-key="$exchange_key.a.b" --body=routed
        sleep 0.1
        kill -0 "$consumer" 2>/dev/null || break
    done
    wait "$consumer"
    echo "$?:$(sed -n '$p' "$work/consumed")"
)"

head -c 1000000 /dev/urandom >"$work/large"
tool amqp-publish --routing-key="$queue" <"$work/large"
check "a million octets come back" "$(sha256sum <"$work/large")" "$(tool amqp-get --queue="$queue" | sha256sum)"

check "A2 bind to a missing exchange is 404" 1 \
    "$(outcome tool amqp-consume --queue= --exclusive --exchange=compliance-none --routing-key=k cat |
        grep -c "NOT_FOUND - no exchange 'compliance-none' in vhost '/'")"

check "A1.14 a wrong password is 403" 1 \
    "$(outcome timeout 30 amqp-get --url="${uri/guest:guest/guest:wrong}" --queue="$queue" |
        grep -c "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN")"

check "A2 the vhost of no name is 530" 1 \
    "$(outcome timeout 30 amqp-get --url="$uri/" --queue="$queue" | grep -c "530, message: NOT_ALLOWED - vhost  not found")"

tool amqp-publish --routing-key="$queue" --body="left"
check "delete refuses a queue that is not empty" 1 \
    "$(outcome tool amqp-delete-queue --queue="$queue" --if-empty | grep -c "queue '$queue' in vhost '/' not empty")"
check "delete tells how many were left" "0:1" "$(outcome tool amqp-delete-queue --queue="$queue")"

exit "$failed"
