// Package ecs holds what is deployed on ECS to the SDK's own types and to the house's rules.
package ecs

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/yoyu-sre/yoyu/internal/config"
	"github.com/yoyu-sre/yoyu/sources/cloudwatch"
)

// read decodes a file strictly.
func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// The task is what Fargate takes, and as little as may be: no root for yoyu, nothing writable but its
// data, no secret in the file, no disk of others.
func TestTaskDefinition(t *testing.T) {
	var task ecs.RegisterTaskDefinitionInput
	read(t, "task-definition.json", &task)
	if task.NetworkMode != types.NetworkModeAwsvpc || !slices.Equal(task.RequiresCompatibilities, []types.Compatibility{types.CompatibilityFargate}) {
		t.Errorf("network %s, compatibilities %v", task.NetworkMode, task.RequiresCompatibilities)
	}
	if cpu, memory := aws.ToString(task.Cpu), aws.ToString(task.Memory); cpu != "256" || !slices.Contains([]string{"512", "1024", "2048"}, memory) {
		t.Errorf("Fargate has no task of %s CPU units with %s MiB", cpu, memory)
	}
	if !slices.Contains(task.RuntimePlatform.CpuArchitecture.Values(), task.RuntimePlatform.CpuArchitecture) || !slices.Contains(task.RuntimePlatform.OperatingSystemFamily.Values(), task.RuntimePlatform.OperatingSystemFamily) {
		t.Errorf("platform %+v", task.RuntimePlatform)
	}
	for _, role := range []*string{task.TaskRoleArn, task.ExecutionRoleArn} {
		if !regexp.MustCompile(`^arn:aws:iam::[0-9]{12}:role/`).MatchString(aws.ToString(role)) {
			t.Errorf("role %s", aws.ToString(role))
		}
	}
	volumes := map[string]bool{}
	for _, v := range task.Volumes {
		volumes[aws.ToString(v.Name)] = true
		if v.EfsVolumeConfiguration != nil || v.Host != nil && v.Host.SourcePath != nil {
			t.Errorf("volume %s is not the task's own", aws.ToString(v.Name))
		}
	}
	if len(task.ContainerDefinitions) != 2 {
		t.Fatalf("%d containers", len(task.ContainerDefinitions))
	}
	for _, c := range task.ContainerDefinitions {
		name := aws.ToString(c.Name)
		if !aws.ToBool(c.ReadonlyRootFilesystem) || aws.ToBool(c.Privileged) || len(c.Environment) > 0 {
			t.Errorf("%s: its root can be written, it is privileged, or it has values in its environment", name)
		}
		for _, m := range c.MountPoints {
			if aws.ToString(m.ContainerPath) != "/data" {
				t.Errorf("%s: %s would be root's", name, aws.ToString(m.ContainerPath))
			}
			if !volumes[aws.ToString(m.SourceVolume)] {
				t.Errorf("%s: mounts %s, which is no volume", name, aws.ToString(m.SourceVolume))
			}
		}
		for _, s := range c.Secrets {
			if from := aws.ToString(s.ValueFrom); !regexp.MustCompile(`^arn:aws:(ssm|secretsmanager):[a-z0-9-]+:[0-9]{12}:`).MatchString(from) {
				t.Errorf("%s: secret %s is not named by its ARN", name, from)
			}
		}
		if c.LogConfiguration == nil || !slices.Contains(c.LogConfiguration.LogDriver.Values(), c.LogConfiguration.LogDriver) {
			t.Errorf("%s: logs go nowhere", name)
		}
	}
	files, yoyu := task.ContainerDefinitions[0], task.ContainerDefinitions[1]
	if aws.ToString(files.Image) != aws.ToString(yoyu.Image) {
		t.Errorf("images %s and %s: one is enough", aws.ToString(files.Image), aws.ToString(yoyu.Image))
	}
	// The container that goes first is given what it writes, and the program takes its arguments.
	var pairs []string
	for _, s := range files.Secrets {
		pairs = append(pairs, aws.ToString(s.Name))
	}
	for i, argument := range files.Command {
		if name, path, ok := strings.Cut(argument, "="); i == 0 && argument != "files" || i > 0 && (!ok || !slices.Contains(pairs, name) || !strings.HasPrefix(path, "/data/files/")) {
			t.Errorf("argument %s of %v, with secrets %v", argument, files.Command, pairs)
		}
	}
	// Fargate gives a volume the owner that the image's VOLUME has, where it is mounted at just that path.
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"COPY --from=build --chown=65532:65532 /out/data /data", `VOLUME ["/data"]`} {
		if !strings.Contains(string(dockerfile), "\n"+line+"\n") {
			t.Errorf("the image lacks %s", line)
		}
	}
	if len(files.Secrets) != 2 || aws.ToBool(files.Essential) || len(yoyu.Secrets) != 0 {
		t.Errorf("secrets reach %d and %d containers", len(files.Secrets), len(yoyu.Secrets))
	}
	if len(yoyu.DependsOn) != 1 || yoyu.DependsOn[0].Condition != types.ContainerConditionSuccess || aws.ToString(yoyu.DependsOn[0].ContainerName) != "files" {
		t.Errorf("yoyu does not wait for its files: %+v", yoyu.DependsOn)
	}
	if aws.ToString(yoyu.User) != "65532:65532" || !slices.Equal(yoyu.LinuxParameters.Capabilities.Drop, []string{"ALL"}) || len(yoyu.LinuxParameters.Capabilities.Add) > 0 {
		t.Errorf("yoyu runs as %s with %+v", aws.ToString(yoyu.User), yoyu.LinuxParameters)
	}
	if !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(aws.ToString(yoyu.Image)) {
		t.Errorf("image %s is not pinned by its digest", aws.ToString(yoyu.Image))
	}
	if h := yoyu.HealthCheck; h == nil || !slices.Equal(h.Command, []string{"CMD", "/yoyu", "healthcheck"}) || aws.ToInt32(h.StartPeriod) > 300 || aws.ToInt32(h.Timeout) < 6 {
		t.Errorf("health check %+v: yoyu's own takes 5 s, and ECS waits for 300 s at most", h)
	}
	if stop := aws.ToInt32(yoyu.StopTimeout); stop < 30 || stop > 120 {
		t.Errorf("stop timeout %d s: Fargate has 120 s at most", stop)
	}
}

// Two tasks never write at once.
func TestService(t *testing.T) {
	var s ecs.CreateServiceInput
	read(t, "service.json", &s)
	if aws.ToInt32(s.DesiredCount) != 1 || aws.ToInt32(s.DeploymentConfiguration.MaximumPercent) != 100 || aws.ToInt32(s.DeploymentConfiguration.MinimumHealthyPercent) != 0 {
		t.Errorf("%d tasks, deployed by %+v", aws.ToInt32(s.DesiredCount), s.DeploymentConfiguration)
	}
	if s.LaunchType != types.LaunchTypeFargate || s.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp != types.AssignPublicIpDisabled || !slices.Contains(s.PropagateTags.Values(), s.PropagateTags) {
		t.Errorf("%s, %+v, %s", s.LaunchType, s.NetworkConfiguration.AwsvpcConfiguration, s.PropagateTags)
	}
	var task ecs.RegisterTaskDefinitionInput
	read(t, "task-definition.json", &task)
	if aws.ToString(s.TaskDefinition) != aws.ToString(task.Family) {
		t.Errorf("the service runs %s, the task is %s", aws.ToString(s.TaskDefinition), aws.ToString(task.Family))
	}
}

// statement is one of a policy.
type statement struct {
	Sid, Effect string
	Action      any
	Resource    any                          `json:",omitempty"`
	Principal   map[string]string            `json:",omitempty"`
	Condition   map[string]map[string]string `json:",omitempty"`
}

func policy(t *testing.T, name string) []statement {
	t.Helper()
	var p struct {
		Version   string
		Statement []statement
	}
	read(t, name, &p)
	if p.Version != "2012-10-17" || len(p.Statement) == 0 {
		t.Errorf("%s: version %s, %d statements", name, p.Version, len(p.Statement))
	}
	return p.Statement
}

// What starts the task may read what the task names and no other secret.
func TestExecutionRole(t *testing.T) {
	var task ecs.RegisterTaskDefinitionInput
	read(t, "task-definition.json", &task)
	var named []string
	for _, c := range task.ContainerDefinitions {
		for _, s := range c.Secrets {
			named = append(named, aws.ToString(s.ValueFrom))
		}
	}
	var allowed []string
	for _, s := range policy(t, "iam/execution-role.json") {
		actions, ok := s.Action.([]any)
		if !ok || s.Effect != "Allow" || strings.Contains(strings.Join(text(actions), " "), "*") {
			t.Errorf("%s allows %v", s.Sid, s.Action)
		}
		if resource, _ := s.Resource.(string); strings.Contains(resource, ":ssm:") || strings.Contains(resource, ":secretsmanager:") {
			allowed = append(allowed, resource)
		}
	}
	slices.Sort(named)
	slices.Sort(allowed)
	if !slices.Equal(named, allowed) {
		t.Errorf("the task names %v, the role reads %v", named, allowed)
	}
	for _, s := range policy(t, "iam/trust-policy.json") {
		if s.Principal["Service"] != "ecs-tasks.amazonaws.com" || s.Action != "sts:AssumeRole" || s.Condition["StringEquals"]["aws:SourceAccount"] == "" {
			t.Errorf("%+v", s)
		}
	}
}

func text(all []any) []string {
	out := make([]string, len(all))
	for i, one := range all {
		out[i], _ = one.(string)
	}
	return out
}

// The configuration is good, and its paths are those of the task.
func TestConfiguration(t *testing.T) {
	c, err := config.Load("config.yaml")
	if err != nil || len(c.Warnings) > 0 {
		t.Fatalf("%v %v", err, c.Warnings)
	}
	for _, s := range c.Sources {
		settings := cloudwatch.DefaultConfig()
		if err := s.Decode(&settings); err != nil {
			t.Error(err)
		}
	}
	file, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var task ecs.RegisterTaskDefinitionInput
	read(t, "task-definition.json", &task)
	wanted := append(regexp.MustCompile(`/data/files/[a-z-]+`).FindAllString(string(file), -1), "/data/files/config.yaml")
	for _, path := range wanted {
		if !slices.ContainsFunc(task.ContainerDefinitions[0].Command, func(pair string) bool { return strings.HasSuffix(pair, "="+path) }) {
			t.Errorf("nobody writes %s", path)
		}
	}
	if len(wanted) != 2 || !slices.Contains(task.ContainerDefinitions[1].Command, "--config.file=/data/files/config.yaml") {
		t.Errorf("files %v are written, and yoyu runs %v", wanted, task.ContainerDefinitions[1].Command)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`file://([a-z/.-]+)`).FindAllStringSubmatch(string(readme), -1) {
		if _, err := os.Stat(filepath.FromSlash(name[1])); err != nil {
			t.Error(err)
		}
	}
}
