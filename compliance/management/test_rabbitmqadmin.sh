#!/usr/bin/env bash
# RabbitMQ's own rabbitmqadmin, the Python one, through its commands. WARREN_HTTP is HOST:PORT of the API.
set -uo pipefail

host=${WARREN_HTTP%:*} port=${WARREN_HTTP##*:}
name=compliance-$$
failed=0

admin() { rabbitmqadmin --host "$host" --port "$port" "$@" 2>&1; }

# check NAME PATTERN ARGUMENT…: the command succeeds and prints what the pattern finds.
check() {
    local about=$1 pattern=$2 output
    shift 2
    if output=$(admin "$@") && grep -Eq -- "$pattern" <<<"$output"; then
        echo "ok $about"
    else
        echo "not ok $about: $(tr '\n' ' ' <<<"$output" | cut -c1-300)"
        failed=1
    fi
}

check "A12 show overview" "cluster_name|warren|rabbit" show overview
for list in users vhosts connections exchanges bindings permissions channels consumers queues policies operator_policies nodes vhost_limits; do
    check "A12 list $list" "" list "$list"
done
check "A12 declare vhost" "vhost declared" declare vhost "name=$name"
check "A12 declare user" "user declared" declare user "name=$name" password=secret tags=management
check "A12 declare permission" "permission declared" declare permission "vhost=$name" "user=$name" configure=.* write=.* read=.*
check "A12 list permissions shows it" "$name" list permissions
check "A12 declare queue" "queue declared" --vhost "$name" declare queue name=q durable=true 'arguments={"x-max-length":9}'
check "A12 declare exchange" "exchange declared" --vhost "$name" declare exchange name=x type=topic
check "A12 declare binding" "binding declared" --vhost "$name" declare binding source=x destination=q routing_key='a.#' 'arguments={"n":1}'
check "A12 list bindings shows it" "a\.#" --vhost "$name" list bindings source destination routing_key
check "A12 publish" "Message published" --vhost "$name" publish exchange=x routing_key=a.b payload=hello
check "A12 publish that is not routed" "NOT routed" --vhost "$name" publish exchange=x routing_key=none payload=hello
check "A12 get" "hello" --vhost "$name" get queue=q ackmode=ack_requeue_true
check "A12 list queues, sorted, chosen columns" "q +\| +1" --sort name --vhost "$name" list queues name messages_ready
check "A12 list queues as JSON" '"name": *"q"|"q"' --format raw_json --vhost "$name" list queues name
check "A12 purge" "queue purged" --vhost "$name" purge queue name=q
check "A9 declare policy" "policy declared" --vhost "$name" declare policy name=p pattern='^q' 'definition={"max-length":5}' apply-to=queues
check "A9 list policies shows it" "max-length" --vhost "$name" list policies
check "A9 declare operator_policy" "operator_policy declared" --vhost "$name" declare operator_policy name=o pattern='^q' 'definition={"max-length":4}' apply-to=queues
check "A10 declare vhost_limit" "vhost_limit declared" --vhost "$name" declare vhost_limit "vhost=$name" name=max-queues value=10
check "A12 delete binding" "binding deleted" --vhost "$name" delete binding source=x destination_type=queue destination=q "properties_key=$(
    curl -s -u guest:guest "http://$WARREN_HTTP/api/bindings/$name/e/x/q/q" | grep -o '"properties_key":"[^"]*"' | cut -d'"' -f4
)"
check "A9 delete policy" "policy deleted" --vhost "$name" delete policy name=p
check "A9 delete operator_policy" "operator_policy deleted" --vhost "$name" delete operator_policy name=o
check "A10 delete vhost_limit" "vhost_limit deleted" --vhost "$name" delete vhost_limit "vhost=$name" name=max-queues
check "A12 delete queue" "queue deleted" --vhost "$name" delete queue name=q
check "A12 delete exchange" "exchange deleted" --vhost "$name" delete exchange name=x
check "A12 delete permission" "permission deleted" delete permission "vhost=$name" "user=$name"
check "A12 delete user" "user deleted" delete user "name=$name"
check "A12 delete vhost" "vhost deleted" delete vhost "name=$name"

# A login that is wrong is refused.
if rabbitmqadmin --host "$host" --port "$port" -u guest -p wrong list queues >/dev/null 2>&1; then
    echo "not ok A10 a wrong password: it was let in"
    failed=1
else
    echo "ok A10 a wrong password"
fi
exit $failed
